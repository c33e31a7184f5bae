// Errors as values. A Result<T> must be looked at; TRY passes an error on to the caller.
#pragma once

#include <cstdint>
#include <new>
#include <string_view>
#include <utility>

#include "arch/base/format.h"
#include "arch/base/panic.h"

namespace bareflow {

/// What kind of thing went wrong, for code that decides; people read the message.
enum class ErrorCode : uint8_t {
    kInvalid,      ///< the input breaks its format or its own promises
    kUnsupported,  ///< well-formed, but not something this build or CPU can do
    kNotFound,     ///< a file, symbol or device that is not there
    kOutOfMemory,  ///< an allocation did not fit
    kOutOfRange,   ///< a number outside its limits
    kDevice,       ///< a device failed or timed out
};

/// A message that stands in one of a few places of the program's own, so that an error is passed on in a few bytes: of a
/// kernel that returns errors everywhere, copies of messages were a sixth.
class ErrorMessage {
 public:
    static constexpr size_t kMaxBytes = 232;
    /// So many messages are kept: one is good until as many more were made.
    static constexpr unsigned kKept = 64;

    constexpr ErrorMessage() = default;
    explicit constexpr ErrorMessage(std::string_view kept) : text_(kept) {}
    constexpr std::string_view view() const { return text_; }
    constexpr operator std::string_view() const { return text_; }
    constexpr size_t size() const { return text_.size(); }
    constexpr bool empty() const { return text_.empty(); }

 private:
    std::string_view text_;
};

/// An error: a code, and a message that says what, where and what to do about it.
struct Error {
    ErrorCode code = ErrorCode::kInvalid;
    ErrorMessage message;

    template <typename... Arguments>
    static Error make(ErrorCode code, std::string_view pattern, const Arguments&... arguments) {
        if constexpr (sizeof...(arguments) == 0) {
            return formatted(code, pattern, {});
        } else {
            const FormatArgument erased[] = {FormatArgument(arguments)...};
            return formatted(code, pattern, erased);
        }
    }

 private:
    static Error formatted(ErrorCode code, std::string_view pattern,
                           std::span<const FormatArgument> arguments);
};

template <typename... Arguments>
Error invalid(std::string_view pattern, const Arguments&... arguments) {
    return Error::make(ErrorCode::kInvalid, pattern, arguments...);
}
template <typename... Arguments>
Error out_of_memory(std::string_view pattern, const Arguments&... arguments) {
    return Error::make(ErrorCode::kOutOfMemory, pattern, arguments...);
}

/// A value of type T, or the Error that stands in its place. Asking for the wrong one is a programmer's error.
template <typename T>
class [[nodiscard]] Result {
 public:
    Result(T value) : ok_(true) { new (&value_) T(std::move(value)); }
    Result(Error error) : ok_(false) { new (&error_) Error(error); }
    Result(Result&& other) : ok_(other.ok_) {
        if (ok_) {
            new (&value_) T(std::move(other.value_));
        } else {
            new (&error_) Error(other.error_);
        }
    }
    Result& operator=(Result&&) = delete;
    ~Result() {
        if (ok_) value_.~T();
    }

    bool ok() const { return ok_; }
    explicit operator bool() const { return ok_; }
    T& value() {
        ASSERT(ok_);
        return value_;
    }
    const T& value() const {
        ASSERT(ok_);
        return value_;
    }
    T take() {
        ASSERT(ok_);
        return std::move(value_);
    }
    const Error& error() const {
        ASSERT(!ok_);
        return error_;
    }

 private:
    bool ok_;
    union {
        T value_;
        Error error_;
    };
};

template <>
class [[nodiscard]] Result<void> {
 public:
    Result() = default;
    Result(Error error) : ok_(false), error_(error) {}
    bool ok() const { return ok_; }
    explicit operator bool() const { return ok_; }
    void take() const { ASSERT(ok_); }
    const Error& error() const {
        ASSERT(!ok_);
        return error_;
    }

 private:
    bool ok_ = true;
    Error error_;
};

/// Evaluates to the value of a Result, or returns its error from the enclosing function.
#define TRY(expression)                                    \
    ({                                                     \
        auto try_result_ = (expression);                   \
        if (!try_result_.ok()) return try_result_.error(); \
        try_result_.take();                                \
    })

}  // namespace bareflow
