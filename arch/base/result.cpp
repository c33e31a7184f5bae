#include "arch/base/result.h"

#include <atomic>

namespace bareflow {
namespace {

struct Place {
    std::atomic<uint32_t> number;  ///< whose text stands here; 0: it is being written
    FixedString<ErrorText::kMostBytes> text;
};
constinit Place places[ErrorText::kPlaces];
constinit std::atomic<uint32_t> made;

}  // namespace

ErrorText ErrorText::formatted(std::string_view pattern, std::span<const FormatArgument> arguments) {
    ErrorText made_now;
    do {
        made_now.number_ = made.fetch_add(1, std::memory_order_relaxed) + 1;
    } while (made_now.number_ == 0);  // once in four thousand million
    Place& place = places[made_now.number_ % kPlaces];
    // An argument may be the text of an older error, even of the one that stood here.
    char text[kMostBytes];
    const std::string_view written = format_arguments(text, pattern, arguments);
    place.number.store(0, std::memory_order_relaxed);
    place.text = written;
    place.number.store(made_now.number_, std::memory_order_release);
    return made_now;
}

std::string_view ErrorText::view() const {
    if (number_ == 0) return {};
    const Place& place = places[number_ % kPlaces];
    if (place.number.load(std::memory_order_acquire) != number_)
        return "an error of which nothing more is known: too many others came after it";
    return place.text;
}

}  // namespace bareflow
