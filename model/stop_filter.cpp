#include "model/stop_filter.h"

namespace bareflow {

std::string_view StopFilter::show(size_t size) {
    shown_now_ = size;
    shown_ += size;
    return text_.view().substr(0, size);
}

size_t StopFilter::doubtful() const {
    size_t longest = 0;
    for (std::string_view stop : stops_) {
        for (size_t size = stop.size() - 1; size > longest; --size) {
            if (text_.view().ends_with(stop.substr(0, size))) longest = size;
        }
    }
    return longest;
}

std::string_view StopFilter::next(std::string_view piece) {
    if (stopped_) return {};
    const FixedString<kLongestStop> held(text_.view().substr(shown_now_));
    text_.clear();
    text_.append(held);
    text_.append(piece);
    size_t first = std::string_view::npos;
    for (std::string_view stop : stops_) {
        if (const size_t found = text_.view().find(stop); found < first) first = found;
    }
    stopped_ = first != std::string_view::npos;
    return show(stopped_ ? first : text_.size() - doubtful());
}

std::string_view StopFilter::finish() {
    if (stopped_) return {};
    const FixedString<kLongestStop> held(text_.view().substr(shown_now_));
    text_.clear();
    text_.append(held);
    return show(text_.size());
}

}  // namespace bareflow
