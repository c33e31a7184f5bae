#include "arch/base/text.h"
#include "model/tokenizer.h"

namespace bareflow {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

void Detokenizer::append_whole_characters(std::string_view bytes) {
    // Complete what is held back, byte by byte: it is at most one character.
    while (!pending_.empty() && !bytes.empty()) {
        FixedString<kMaxHeldBack + 1> candidate(pending_.view());
        candidate.append(bytes.substr(0, 1));
        const int length = utf8_length(candidate);
        if (length == 0) {
            // What came does not continue it. SentencePiece writes one U+FFFD for each byte of the rest.
            for (size_t i = 0; i < pending_.size(); ++i) text_.append(kReplacement);
            pending_.clear();
            break;
        }
        bytes.remove_prefix(1);
        pending_.clear();
        if (length > 0) {
            text_.append(candidate);
        } else {
            pending_.append(candidate);
        }
    }
    while (!bytes.empty()) {
        const int length = utf8_length(bytes);
        if (length < 0) {
            pending_.append(bytes);
            return;
        }
        text_.append(length > 0 ? bytes.substr(0, static_cast<size_t>(length)) : kReplacement);
        bytes.remove_prefix(length > 0 ? static_cast<size_t>(length) : 1);
    }
}

std::string_view Detokenizer::next(uint32_t token) {
    text_.clear();
    std::string_view piece = tokenizer_.piece(token);
    // A control token: what comes after it does not complete what came before.
    if (piece.empty()) return finish();
    const bool drop_space = at_start_ && tokenizer_.add_dummy_prefix() &&
                            tokenizer_.type(token) != wllm::PieceType::kByte && piece.front() == ' ';
    at_start_ = false;
    if (drop_space) piece.remove_prefix(1);
    append_whole_characters(piece);
    return text_;
}

std::string_view Detokenizer::finish() {
    text_.clear();
    for (size_t i = 0; i < pending_.size(); ++i) text_.append(kReplacement);
    pending_.clear();
    return text_;
}

}  // namespace bareflow
