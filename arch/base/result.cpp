#include "arch/base/result.h"

#include <atomic>

namespace bareflow {
namespace {

struct Place {
    std::atomic<uint32_t> number;  ///< whose text stands here; 0: it is being written
    FixedString<Error::kMostBytes> text;
};
constinit Place places[Error::kPlaces];
constinit std::atomic<uint32_t> made_errors;

}  // namespace

Error Error::made(FormatKinds code_and_kinds, const char* pattern, ...) {
    Error error(0);
    do {
        error.bits_ = (made_errors.fetch_add(1, std::memory_order_relaxed) + 1) << kCodeBits;
    } while (error.bits_ == 0);  // once in some hundred million
    error.bits_ |= code_and_kinds % (1u << kCodeBits);
    Place& place = places[error.number() % kPlaces];
    // An argument may be the text of an older error, even of the one that stood here.
    char text[kMostBytes];
    va_list values;
    va_start(values, pattern);
    const std::string_view written = format_list(text, pattern, code_and_kinds >> kFormatKindBits, values);
    va_end(values);
    place.number.store(0, std::memory_order_relaxed);
    place.text = written;
    place.number.store(error.number(), std::memory_order_release);
    return error;
}

std::string_view Error::message() const {
    const Place& place = places[number() % kPlaces];
    if (place.number.load(std::memory_order_acquire) != number())
        return "an error of which nothing more is known: too many others came after it";
    return place.text;
}

}  // namespace bareflow
