// SentencePiece BPE as Llama has it: scores, byte fallback, dummy prefix.
#pragma once

#include <cstdint>
#include <string_view>

#include "arch/base/allocator.h"
#include "arch/base/bytes.h"
#include "arch/base/result.h"
#include "model/tokenizer_section.h"
#include "model/wllm.h"

namespace bareflow {

/// How text is encoded; the default is what SentencePiece does with a whole text.
struct Encoding {
    bool dummy_prefix = true;  ///< if the vocabulary asks for it
    /// User-defined pieces that look like marks ("<|im_end|>", "[INST]") are not found either: what somebody types in a
    /// conversation never becomes a part of its structure.
    bool marks_as_text = false;
};

class Tokenizer {
 public:
    /// Reads a tokenizer section (wllm::TokenizerHeader …) in place; builds a hash index over its pieces. Every
    /// offset and type is checked. `section` must outlive the tokenizer.
    static Result<Tokenizer> make(ByteSpan section, Allocator& allocator);

    /// The token ids of `text` (UTF-8; malformed bytes become U+FFFD as in SentencePiece). Adds the dummy prefix if
    /// the vocabulary asks for it, never BOS; empty text has no tokens. U+2581 counts as a space. Control, unknown and
    /// byte pieces are never matched in the text. The buffer is as long as there are tokens. O(n log n).
    Result<Buffer<uint32_t>> encode(std::string_view text, Encoding encoding = {}) const;
    /// The control or user-defined piece of that name; kNone if there is none. Looks at every piece.
    uint32_t special(std::string_view name) const;
    static constexpr uint32_t kNone = 0xFFFFFFFF;

    /// How many pieces there are. A model's vocabulary may be larger: tokens from here on count as unknown.
    uint32_t size() const { return section_.count(); }
    /// The piece as it prints: its text, one byte for a byte token, nothing for control and unknown ones.
    std::string_view piece(uint32_t token) const;
    /// The piece's own text, "<0x0A>" for a byte token and "</s>" for a control one.
    std::string_view name(uint32_t token) const {
        return token < size() ? section_.piece(token) : std::string_view{};
    }
    wllm::PieceType type(uint32_t token) const {
        return token < size() ? section_.types[token] : wllm::PieceType::kUnknown;
    }
    bool add_dummy_prefix() const { return section_.add_dummy_prefix; }
    /// Whether a text begins with BOS.
    bool add_bos() const { return section_.add_bos; }

 private:
    friend class BpeEncoder;

    Result<void> index_pieces(Allocator& allocator);
    /// The id of the piece that `text` is, if it may stand for text; else kNone.
    uint32_t find(std::string_view text) const;
    /// Whether the piece is user-defined and looks like a mark, not like a word or blanks.
    bool is_mark(uint32_t token) const;

    Allocator* allocator_ = nullptr;
    TokenizerSection section_;
    uint32_t unknown_ = 0;
    bool has_bytes_ = false;   ///< all 256 byte pieces are there: unknown characters become bytes
    bool has_unused_ = false;  ///< some piece is of type unused: it may be a step to another, no token
    size_t longest_user_defined_ = 0;  ///< bytes
    uint32_t byte_tokens_[256] = {};   ///< ids of <0xNN>, if has_bytes_
    Buffer<uint32_t> index_;  ///< open-addressing hash table of token ids + 1; its size is a power of two
};

/// Turns tokens back into text: drops the dummy prefix's space at the start, and holds back the bytes of a UTF-8
/// sequence until it is complete, so that what goes out is always whole characters. A malformed byte goes out as
/// U+FFFD.
class Detokenizer {
 public:
    /// `tokenizer` must outlive it.
    explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
    /// The text that `token` completes; valid until the next call.
    std::string_view next(uint32_t token);
    /// What is still held back (a malformed rest, as U+FFFD); call once at the end.
    std::string_view finish();

 private:
    static constexpr size_t kMaxHeldBack = 3;      ///< bytes of a UTF-8 sequence without its last
    static constexpr size_t kReplacementSize = 3;  ///< bytes of U+FFFD
    void append_whole_characters(std::string_view bytes);

    const Tokenizer& tokenizer_;
    bool at_start_ = true;
    /// Pieces are well-formed UTF-8, so only held-back bytes can turn into U+FFFD.
    FixedString<wllm::kMaxPieceSize + kMaxHeldBack * kReplacementSize> text_;
    FixedString<kMaxHeldBack> pending_;
};

}  // namespace bareflow
