// Texts that a tokenizer may meet, and ones that nobody should send it, from a seed.
#pragma once

#include <random>
#include <string>
#include <vector>

namespace bareflow::testing {

class VariedLines {
 public:
    /// `pieces`: what the vocabulary has; texts are made of them among other things.
    VariedLines(uint32_t seed, const std::vector<std::string>& pieces) : random_(seed), pieces_(pieces) {}

    std::string next() {
        std::string text;
        const uint32_t parts = below(4) == 0 ? below(3) : below(24);
        for (uint32_t i = 0; i < parts; ++i) text += part();
        return text;
    }

 private:
    uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
    template <size_t N>
    std::string one_of(const char* const (&choices)[N]) {
        return choices[below(N)];
    }
    std::string repeated(const std::string& text, uint32_t times) {
        std::string result;
        while (times-- > 0) result += text;
        return result;
    }

    std::string part() {
        static const char* const kWords[] = {"Once",   "upon",    "a",
                                             "time",   "there",   "was",
                                             "the",    "girl",    "Lily's",
                                             "don't",  "UPPER",   "MiXed",
                                             "naïve",  "café",    "Straße",
                                             "привет", "世界",    "日本語",
                                             "한국어", "שלום",    "مرحبا",
                                             "हिन्दी",  "🙂",    "👩‍👩‍👧",
                                             "🇩🇪",     "e\u0301", "A\u030A\u0323",
                                             "ﬁ",      "½",       "<s>",
                                             "</s>",   "<unk>",   "<0x41>",
                                             "<0xFF>", "[INST]",  "0x1F",
                                             "12345",  "3.14",    "1e-5"};
        // Every white space of Unicode, what only looks like it, and U+2581 itself.
        static const char* const kSpaces[] = {
            " ",      "  ",     "   ",    "\t",     "\n",      "\r\n",    "\v",     "\f",     "\u0085",
            "\u00A0", "\u1680", "\u2000", "\u2003", "\u2009",  "\u200A",  "\u200B", "\u2028", "\u2029",
            "\u202F", "\u205F", "\u3000", "\u2581", " \u2581", "\u2581 ", "\uFEFF"};
        static const char* const kMarks[] = {".", ",", "!",  "?", "\"", "'", "-", "--", "...", "(", ")",
                                             "{", "}", "\\", "/", "@",  "#", "$", "%",  "&",   "*", "+",
                                             "=", "~", "`",  "|", ";",  ":", "„", "“",  "…",   "—"};
        // Lone and surplus continuation bytes, overlong forms, surrogates, above U+10FFFF, cut-off sequences.
        static const char* const kMalformed[] = {"\x80",
                                                 "\xBF",
                                                 "\xC0\x80",
                                                 "\xC1\xBF",
                                                 "\xE0\x80\x80",
                                                 "\xE0\x9F\xBF",
                                                 "\xF0\x80\x80\x80",
                                                 "\xF0\x8F\xBF\xBF",
                                                 "\xED\xA0\x80",
                                                 "\xED\xBF\xBF",
                                                 "\xED\xA0\xBD\xED\xB8\x80",
                                                 "\xF4\x90\x80\x80",
                                                 "\xF5\x80\x80\x80",
                                                 "\xF8\x88\x80\x80\x80",
                                                 "\xFE",
                                                 "\xFF",
                                                 "\xC3",
                                                 "\xE2\x96",
                                                 "\xE2",
                                                 "\xF0\x9F\x99",
                                                 "\xF0\x9F",
                                                 "\xF0",
                                                 "\xEF\xBF\xBD",
                                                 "\xE2\x96\x81\x81"};
        switch (below(16)) {
            case 0:
            case 1:
            case 2:
                return one_of(kWords);
            case 3:
            case 4:
            case 5:
                return " " + one_of(kWords);
            case 6:
            case 7:
                return one_of(kSpaces);
            case 8:
                return one_of(kMarks);
            case 9:
                return one_of(kMalformed);
            case 10:
                return character(below(0x110000));
            case 11:
                return character(below(0x3000));
            case 12:
                return std::string(1, static_cast<char>(below(256)));
            case 13:
                return repeated(below(2) == 0 ? " " : one_of(kWords), below(40));
            case 14:
                return below(200) == 0 ? repeated(one_of(kWords), 400)
                                       : pieces_[below(static_cast<uint32_t>(pieces_.size()))];
            default:
                return pieces_[below(static_cast<uint32_t>(pieces_.size()))];
        }
    }

    /// A code point in UTF-8; also what is none (surrogates).
    static std::string character(uint32_t code) {
        const auto tail = [](uint32_t bits) { return static_cast<char>(0x80 | (bits & 0x3F)); };
        if (code < 0x80) return {static_cast<char>(code)};
        if (code < 0x800) return {static_cast<char>(0xC0 | code >> 6), tail(code)};
        if (code < 0x10000) return {static_cast<char>(0xE0 | code >> 12), tail(code >> 6), tail(code)};
        return {static_cast<char>(0xF0 | code >> 18), tail(code >> 12), tail(code >> 6), tail(code)};
    }

    std::mt19937 random_;
    const std::vector<std::string>& pieces_;
};

}  // namespace bareflow::testing
