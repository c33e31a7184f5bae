// Tokenizer::encode: the text is cut into characters, and the adjacent pair whose union is the piece with the best
// score is merged, the leftmost of equals first, until no union is a piece (SentencePiece's bpe_model).
#include <algorithm>

#include "arch/base/text.h"
#include "model/tokenizer.h"

namespace bareflow {
namespace {

using wllm::PieceType;

constexpr std::string_view kSpace = " ";
constexpr std::string_view kVisibleSpace = "\xE2\x96\x81";  // U+2581, which SentencePiece writes for a space
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";   // U+FFFD

/// The normalised form of the character that `text` begins with; takes it off. Each malformed byte is one U+FFFD.
std::string_view take_character(std::string_view& text) {
    const int length = utf8_length(text);
    const std::string_view character =
        length > 0 ? text.substr(0, static_cast<size_t>(length)) : kReplacement;
    text.remove_prefix(length > 0 ? static_cast<size_t>(length) : 1);
    return character == kVisibleSpace ? kSpace : character;
}

/// What the text is made of at one moment: a linked list of symbols, in the order of the text.
struct Symbol {
    uint32_t begin;  ///< within the normalised text
    uint32_t size;   ///< bytes; 0 once it was merged into its left neighbour
    uint32_t previous;
    uint32_t next;
    bool frozen;  ///< a user-defined piece: it is never merged
};

/// Two neighbours that could become one. Out of date if their sizes no longer add up to `size`.
struct Pair {
    float score;
    uint32_t left;
    uint32_t right;
    uint32_t size;
};

/// The order of the heap: the best score on top, the leftmost of equals.
bool is_worse(const Pair& a, const Pair& b) {
    return a.score < b.score || (a.score == b.score && a.left > b.left);
}

}  // namespace

class BpeEncoder {
 public:
    BpeEncoder(const Tokenizer& tokenizer, Encoding encoding) : tokenizer_(tokenizer), encoding_(encoding) {}

    Result<Buffer<uint32_t>> encode(std::string_view text) {
        TRY(normalise(text));
        TRY(split());
        TRY(merge());
        size_t count = 0;
        for_each_token([&](uint32_t) { ++count; });
        auto tokens = TRY(Buffer<uint32_t>::make(allocator(), count, "tokenizer: tokens of the text"));
        size_t i = 0;
        for_each_token([&](uint32_t token) { tokens[i++] = token; });
        return tokens;
    }

 private:
    static constexpr uint32_t kNone = Tokenizer::kNone;

    Allocator& allocator() const { return *tokenizer_.allocator_; }
    std::string_view text() const { return {text_.data(), text_.size()}; }
    std::string_view text_of(const Symbol& symbol) const { return text().substr(symbol.begin, symbol.size); }

    Result<void> normalise(std::string_view input) {
        const bool prefixed = encoding_.dummy_prefix && tokenizer_.add_dummy_prefix();
        const std::string_view prefix = prefixed ? kSpace : std::string_view{};
        size_t size = prefix.size();
        for (std::string_view left = input; !left.empty();) size += take_character(left).size();
        text_ = TRY(Buffer<char>::make(allocator(), size, "tokenizer: normalised text"));
        char* out = std::copy(prefix.begin(), prefix.end(), text_.data());
        while (!input.empty()) {
            const std::string_view character = take_character(input);
            out = std::copy(character.begin(), character.end(), out);
        }
        return {};
    }

    uint32_t find(std::string_view text) const {
        const uint32_t token = tokenizer_.find(text);
        return encoding_.marks_as_text && token != kNone && tokenizer_.is_mark(token) ? kNone : token;
    }

    /// The length of the longest user-defined piece that `text` begins with; 0 if there is none.
    size_t user_defined_prefix(std::string_view text) const {
        size_t length = std::min(tokenizer_.longest_user_defined_, text.size());
        for (; length > 0; --length) {
            const uint32_t token = find(text.substr(0, length));
            if (token != kNone && tokenizer_.type(token) == PieceType::kUserDefined) break;
        }
        return length;
    }

    /// Length of the symbol that begins at `at` in the normalised text.
    uint32_t symbol_size(size_t at, bool& frozen) const {
        const std::string_view rest = text().substr(at);
        const size_t user_defined = user_defined_prefix(rest);
        frozen = user_defined > 0;
        return static_cast<uint32_t>(frozen ? user_defined : static_cast<size_t>(utf8_length(rest)));
    }

    Result<void> split() {
        uint32_t count = 0;
        bool frozen = false;
        for (size_t at = 0; at < text_.size(); at += symbol_size(at, frozen)) ++count;
        symbols_ = TRY(Buffer<Symbol>::make(allocator(), count, "tokenizer: symbols of the text"));
        uint32_t begin = 0;
        for (uint32_t i = 0; i < count; ++i) {
            const uint32_t size = symbol_size(begin, frozen);
            symbols_[i] = {begin, size, i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1, frozen};
            begin += size;
        }
        return {};
    }

    Result<void> merge() {
        // One pair for each border at first; each merge takes one off and adds two at most.
        pairs_ = TRY(Buffer<Pair>::make(allocator(), symbols_.size() * 2, "tokenizer: pairs of symbols"));
        if (tokenizer_.has_unused_) {
            split_at_ =
                TRY(Buffer<uint16_t>::make(allocator(), tokenizer_.size(), "tokenizer: unused pieces"));
        }
        for (uint32_t i = 1; i < symbols_.size(); ++i) add_pair(i - 1, i);
        while (pair_count_ > 0) {
            std::pop_heap(pairs_.begin(), pairs_.begin() + pair_count_, is_worse);
            const Pair best = pairs_[--pair_count_];
            Symbol& left = symbols_[best.left];
            Symbol& right = symbols_[best.right];
            if (left.size == 0 || right.size == 0 || left.size + right.size != best.size) continue;
            left.size += right.size;
            left.next = right.next;
            if (right.next != kNone) symbols_[right.next].previous = best.left;
            right.size = 0;
            add_pair(left.previous, best.left);
            add_pair(best.left, left.next);
        }
        return {};
    }

    void add_pair(uint32_t left, uint32_t right) {
        if (left == kNone || right == kNone || symbols_[left].frozen || symbols_[right].frozen) return;
        const uint32_t size = symbols_[left].size + symbols_[right].size;
        const uint32_t token = find(text().substr(symbols_[left].begin, size));
        if (token == kNone) return;
        pairs_[pair_count_++] = {tokenizer_.section_.scores[token], left, right, size};
        std::push_heap(pairs_.begin(), pairs_.begin() + pair_count_, is_worse);
        if (tokenizer_.type(token) == PieceType::kUnused) {
            split_at_[token] = static_cast<uint16_t>(symbols_[left].size);
        }
    }

    template <typename Visitor>
    void for_each_token(Visitor&& visit) const {
        bool after_unknown = false;
        for (uint32_t i = 0; i < symbols_.size(); i = symbols_[i].next) {
            visit_tokens_of(text_of(symbols_[i]), after_unknown, visit);
        }
    }

    /// A symbol is one token, unless its piece is unused, which falls into the two that it was merged from, or it is
    /// no piece at all: then it is its bytes, or, with others beside it, the unknown token.
    template <typename Visitor>
    void visit_tokens_of(std::string_view symbol, bool& after_unknown, Visitor&& visit) const {
        const uint32_t token = find(symbol);
        if (token != kNone) {
            const size_t split = tokenizer_.type(token) == PieceType::kUnused ? split_at_[token] : 0;
            if (split > 0) {
                visit_tokens_of(symbol.substr(0, split), after_unknown, visit);
                visit_tokens_of(symbol.substr(split), after_unknown, visit);
                return;
            }
            visit(token);
        } else if (tokenizer_.has_bytes_) {
            for (char c : symbol == kSpace ? kVisibleSpace : symbol) {
                visit(tokenizer_.byte_tokens_[static_cast<unsigned char>(c)]);
            }
        } else if (!after_unknown) {
            visit(tokenizer_.unknown_);
        }
        after_unknown = token == kNone;
    }

    const Tokenizer& tokenizer_;
    const Encoding encoding_;
    Buffer<char> text_;  ///< normalised
    Buffer<Symbol> symbols_;
    Buffer<Pair> pairs_;  ///< a heap of pair_count_
    size_t pair_count_ = 0;
    Buffer<uint16_t> split_at_;  ///< (vocabulary) where an unused piece was last put together; 0: never
};

Result<Buffer<uint32_t>> Tokenizer::encode(std::string_view text, Encoding encoding) const {
    constexpr size_t kMaxText = size_t{1} << 28;  // so that offsets within the normalised text fit 32 bits
    if (text.empty()) return Buffer<uint32_t>();
    if (text.size() > kMaxText) {
        return Error::make(ErrorCode::kOutOfRange, "text: {} bytes are more than {}; give it in parts",
                           text.size(), kMaxText);
    }
    return BpeEncoder(*this, encoding).encode(text);
}

}  // namespace bareflow
