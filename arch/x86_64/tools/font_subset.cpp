// Makes the kernel's font out of a console font: font-subset < FONT.psf > SUBSET.psf
//
// Keeps the glyphs of the characters in kKept, each once, by code points, and writes a PSF2 file of them with its Unicode table.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>

#include "arch/x86_64/psf_font.h"

namespace {

using namespace bareflow;

struct Range {
    uint32_t first, last;
};
constexpr Range kKept[] = {
    {0x0020, 0x017F},  // ASCII, Latin-1, Latin Extended-A: the languages of Europe in Latin letters
    {0x2010, 0x2044},  // dashes, quotation marks, bullets, ellipsis
    {0x20AC, 0x20AC},  // the euro sign
    {0x2122, 0x2122},  // trade mark
    {0x2190, 0x2195},  // arrows
    {0x2212, 0x2265},  // minus, infinity, comparisons
    {0x2500, 0x25FF},  // box drawing, block elements, geometric shapes
};

bool is_kept(uint32_t code_point) {
    for (const Range& range : kKept) {
        if (code_point >= range.first && code_point <= range.last) return true;
    }
    return false;
}

void append_utf8(std::string& text, uint32_t c) {
    if (c < 0x80) {
        text += static_cast<char>(c);
    } else if (c < 0x800) {
        text += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    } else {
        text += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
                 static_cast<char>(0x80 | (c & 0x3F))};
    }
}

void append_word(std::string& bytes, uint32_t word) {
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(word >> shift);
}

std::string subset_of(const PsfFont& font) {
    std::map<uint16_t, std::set<uint32_t>> characters;  // by glyph
    font.each([&](uint16_t glyph, uint32_t code_point) {
        if (is_kept(code_point)) characters[glyph].insert(code_point);
    });
    std::map<uint32_t, uint16_t>
        glyphs;  // by their first character: the kernel finds the first ones quickest
    for (const auto& [glyph, its] : characters) glyphs[*its.begin()] = glyph;
    std::string bitmaps, table;
    for (const auto& [first, glyph] : glyphs) {
        bitmaps.append(reinterpret_cast<const char*>(font.bitmap(glyph)), font.glyph_bytes());
        for (const uint32_t code_point : characters[glyph]) append_utf8(table, code_point);
        table += '\xFF';
    }
    const auto count = static_cast<uint32_t>(glyphs.size());
    std::string file;
    constexpr uint32_t kMagic = 0x864AB572, kHeaderBytes = 32, kHasTable = 1;
    for (uint32_t word :
         {kMagic, 0u, kHeaderBytes, kHasTable, count, font.glyph_bytes(), font.height(), font.width()})
        append_word(file, word);
    return file + bitmaps + table;
}

}  // namespace

namespace bareflow {
[[noreturn]] void panic(const char* what, const char* file, int line) {
    std::fprintf(stderr, "font-subset: %s (%s:%d)\n", what, file, line);
    std::abort();
}
}  // namespace bareflow

int main() {
    std::string input;
    for (int byte; (byte = std::getchar()) != EOF;) input += static_cast<char>(byte);
    bareflow::PsfFont font;
    const auto loaded = font.load({reinterpret_cast<const uint8_t*>(input.data()), input.size()});
    if (!loaded) {
        const std::string_view why = loaded.error().message();
        std::fprintf(stderr, "font-subset: standard input: %.*s\n", static_cast<int>(why.size()), why.data());
        return 1;
    }
    const std::string output = subset_of(font);
    return std::fwrite(output.data(), 1, output.size(), stdout) == output.size() ? 0 : 1;
}
