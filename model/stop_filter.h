// Ends a text where one of some strings begins, and shows none of it: what might be the beginning of one is held back until
// that is clear.
#pragma once

#include <span>
#include <string_view>

#include "arch/base/options.h"
#include "model/wllm.h"

namespace bareflow {

class StopFilter {
 public:
    /// `stops`: each of 1 to kLongestStop bytes of UTF-8; they outlive the filter.
    explicit StopFilter(std::span<const std::string_view> stops) : stops_(stops) {}

    /// The next piece of the text, at most kLongestPiece bytes. Returns what can be shown now, valid until the next call.
    std::string_view next(std::string_view piece);
    /// One of the strings is there: what was shown ends where it begins, and nothing more comes.
    bool stopped() const { return stopped_; }
    /// The text ended without one: what was held back.
    std::string_view finish();
    /// Bytes that next() and finish() returned so far.
    uint64_t shown() const { return shown_; }

    /// Of a Detokenizer: a piece, and a character that was cut before it.
    static constexpr size_t kLongestPiece = wllm::kMaxPieceSize + 16;

 private:
    std::string_view show(size_t size);
    /// How many bytes at the end of text_ could be the beginning of a stop.
    size_t doubtful() const;

    std::span<const std::string_view> stops_;
    FixedString<kLongestStop + kLongestPiece>
        text_;  ///< shown_now_ bytes that are shown, then those that are held back
    size_t shown_now_ = 0;
    uint64_t shown_ = 0;
    bool stopped_ = false;
};

}  // namespace bareflow
