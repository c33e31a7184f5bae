// What becomes of a vocabulary that a reader accepted: a .wllm's tokenizer section, a tokenizer, tokens, text.
#pragma once

#include "tests/fuzz/model_input.h"

namespace bareflow::fuzz {

/// A tokenizer section as model/README.md has it.
inline std::vector<uint8_t> section_of(const Vocabulary& vocabulary) {
    std::string scores, ends, types, text;
    const auto put = [](std::string& out, auto value) {
        out.append(reinterpret_cast<const char*>(&value), sizeof value);
    };
    for (const Vocabulary::Piece& piece : vocabulary.pieces) {
        text += piece.text;
        put(scores, piece.score);
        put(ends, static_cast<uint32_t>(text.size()));
        put(types, piece.type);
    }
    std::string header;
    put(header,
        wllm::TokenizerHeader{.count = static_cast<uint32_t>(vocabulary.pieces.size()),
                              .flags = vocabulary.add_dummy_prefix ? wllm::kTokenizerAddDummyPrefix : 0,
                              .text_size = static_cast<uint32_t>(text.size()),
                              .reserved = 0});
    const std::string section = header + scores + ends + types + text;
    return {section.begin(), section.end()};
}

inline void use_vocabulary(const Vocabulary& vocabulary) {
    static StdAllocator allocator;
    const std::vector<uint8_t> section = section_of(vocabulary);
    const auto tokenizer = Tokenizer::make(section, allocator);
    if (!tokenizer.ok()) wrong("an accepted vocabulary is no tokenizer");
    // All pieces in a row, and what no piece is.
    std::string text = " x\xFF\xE2\x96\x81";
    for (const Vocabulary::Piece& piece : vocabulary.pieces) text += piece.text;
    const auto tokens = tokenizer.value().encode(text);
    if (!tokens.ok()) wrong("a text cannot be cut");
    Detokenizer detokenizer(tokenizer.value());
    for (uint32_t token : tokens.value()) {
        if (token >= vocabulary.pieces.size()) wrong("a token that there is not");
        detokenizer.next(token);
    }
    detokenizer.finish();
}

}  // namespace bareflow::fuzz
