// Errors as values. A Result<T> must be looked at; TRY passes an error on to the caller.
#pragma once

#include <cstdint>
#include <new>
#include <string_view>
#include <type_traits>
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

/// An error: a code, and a message that says what, where and what to do about it. It is as small as a number, and is passed on
/// in a register: its message stands in one of kPlaces places, which errors take in turns. Errors are told soon; what stays silent
/// while kPlaces later ones are made is lost, and says that it is.
class Error {
 public:
    static constexpr uint32_t kPlaces = 128;
    static constexpr size_t kMostBytes = 232;

    template <typename... Arguments>
    static Error make(ErrorCode code, const char* pattern, const Arguments&... arguments) {
        return made(static_cast<uint8_t>(code) | format_kinds<Arguments...>() << kFormatKindBits, pattern,
                    format_value(arguments)...);
    }

    ErrorCode code() const { return static_cast<ErrorCode>(bits_ % (1u << kCodeBits)); }
    /// Good until kPlaces more errors are made.
    std::string_view message() const;

 private:
    template <typename T>
    friend class Result;
    static constexpr unsigned kCodeBits = 4;

    constexpr explicit Error(uint32_t bits) : bits_(bits) {}
    /// The code stands where the kind of a first value would.
    static Error made(FormatKinds code_and_kinds, const char* pattern, ...);

    uint32_t number() const { return bits_ >> kCodeBits; }  ///< of all errors that were made; never 0

    uint32_t bits_;  ///< the number and the code; 0 in a Result that has none
};
static_assert(kFormatKindBits == 4);

template <typename... Arguments>
Error invalid(const char* pattern, const Arguments&... arguments) {
    return Error::make(ErrorCode::kInvalid, pattern, arguments...);
}
template <typename... Arguments>
Error out_of_memory(const char* pattern, const Arguments&... arguments) {
    return Error::make(ErrorCode::kOutOfMemory, pattern, arguments...);
}

/// A value of type T, or the Error that stands in its place. Asking for the wrong one is a programmer's error. It is as trivial
/// as its value is, so that a small one comes back in registers.
template <typename T>
class [[nodiscard]] Result {
 public:
    Result(T value) : error_(0) { new (&value_) T(std::move(value)); }
    Result(Error error) : error_(error) {}
    Result(Result&& other) requires std::is_trivially_move_constructible_v<T>
    = default;
    Result(Result&& other) : error_(other.error_) {
        if (ok()) new (&value_) T(std::move(other.value_));
    }
    Result& operator=(Result&&) = delete;
    ~Result() requires std::is_trivially_destructible_v<T>
    = default;
    ~Result() {
        if (ok()) value_.~T();
    }

    bool ok() const { return error_.bits_ == 0; }
    explicit operator bool() const { return ok(); }
    T& value() {
        ASSERT(ok());
        return value_;
    }
    const T& value() const {
        ASSERT(ok());
        return value_;
    }
    T take() {
        ASSERT(ok());
        return std::move(value_);
    }
    const Error& error() const {
        ASSERT(!ok());
        return error_;
    }

 private:
    union {
        T value_;
    };
    Error error_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
    Result() : error_(0) {}
    Result(Error error) : error_(error) {}
    bool ok() const { return error_.bits_ == 0; }
    explicit operator bool() const { return ok(); }
    void take() const { ASSERT(ok()); }
    const Error& error() const {
        ASSERT(!ok());
        return error_;
    }

 private:
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
