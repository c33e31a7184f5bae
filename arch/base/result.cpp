#include "arch/base/result.h"

#include <atomic>

namespace bareflow {
namespace {

constinit char messages[ErrorMessage::kKept][ErrorMessage::kMaxBytes];
constinit std::atomic<unsigned> made = 0;

}  // namespace

Error Error::formatted(ErrorCode code, std::string_view pattern, std::span<const FormatArgument> arguments) {
    // Arguments may be messages themselves: theirs are older, and stay.
    const unsigned place = made.fetch_add(1, std::memory_order_relaxed) % ErrorMessage::kKept;
    Error error;
    error.code = code;
    error.message = ErrorMessage(format_arguments(messages[place], pattern, arguments));
    return error;
}

}  // namespace bareflow
