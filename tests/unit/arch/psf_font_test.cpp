#include "arch/x86_64/psf_font.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/arch/psf_fonts.h"

namespace bareflow {
namespace {

using testing::HasSubstr;

/// The font, with its bytes in a block of exactly their size, so that the sanitizers see a step beyond it.
struct Loaded {
    explicit Loaded(const std::string& file) : bytes(bytes_of(file)), result(font.load(bytes)) {}
    std::string error() const { return result.ok() ? "" : std::string(result.error().message()); }

    std::vector<uint8_t> bytes;
    PsfFont font;
    Result<void> result;
};

TEST(PsfFont, FindsGlyphsByTheUnicodeTableOfPsf2) {
    Loaded loaded(psf2({"A", "äÄ", "€", "│", "\U0001F600"}));
    ASSERT_TRUE(loaded.result.ok()) << loaded.error();
    const PsfFont& font = loaded.font;
    EXPECT_EQ(font.width(), 8u);
    EXPECT_EQ(font.height(), 16u);
    EXPECT_EQ(font.find(U'A'), 0);
    EXPECT_EQ(font.find(U'ä'), 1);
    EXPECT_EQ(font.find(U'Ä'), 1);
    EXPECT_EQ(font.find(U'€'), 2);
    EXPECT_EQ(font.find(U'│'), 3);
    EXPECT_EQ(font.find(U'\U0001F600'), 4);
    EXPECT_EQ(font.find(U'B'), PsfFont::kNoGlyph);
    EXPECT_EQ(font.find(U'世'), PsfFont::kNoGlyph);
    EXPECT_EQ(font.bitmap(3)[15], 3);
}

TEST(PsfFont, FindsGlyphsByTheUnicodeTableOfPsf1) {
    Loaded loaded(psf1(2, 14, {'a', 0x410, 0xFFFF, 0x20AC, 0xFFFF, 0xFFFE, 'e', 0x301, 0xFFFF, 'z', 0xFFFF}));
    ASSERT_TRUE(loaded.result.ok()) << loaded.error();
    EXPECT_EQ(loaded.font.count(), 256u);
    EXPECT_EQ(loaded.font.height(), 14u);
    EXPECT_EQ(loaded.font.find('a'), 0);
    EXPECT_EQ(loaded.font.find(0x410), 0);
    EXPECT_EQ(loaded.font.find(0x20AC), 1);
    EXPECT_EQ(loaded.font.find('e'), PsfFont::kNoGlyph) << "part of a sequence is not the character";
    EXPECT_EQ(loaded.font.find('z'), 3) << "what follows a sequence is found again";
    EXPECT_EQ(Loaded(psf1(3, 8, {})).font.count(), 512u);
}

TEST(PsfFont, SequencesOfPsf2AreLeftOut) {
    Loaded loaded(
        psf2({"A\xFE"
              "e\u0301",
              "B"}));
    EXPECT_EQ(loaded.font.find('A'), 0);
    EXPECT_EQ(loaded.font.find('e'), PsfFont::kNoGlyph);
    EXPECT_EQ(loaded.font.find('B'), 1);
}

TEST(PsfFont, WithoutATableTheGlyphIsTheCodePoint) {
    Loaded loaded(psf1(0, 8, {}));
    EXPECT_EQ(loaded.font.find('A'), 'A');
    EXPECT_EQ(loaded.font.find(255), 255);
    EXPECT_EQ(loaded.font.find(256), PsfFont::kNoGlyph);
}

TEST(PsfFont, RefusesWhatBreaksTheFormat) {
    const std::string good = psf2({"A", "B"});
    auto with = [&](size_t offset, uint32_t value) {
        std::string file = good;
        return file.replace(offset, 4, word(value));
    };
    const struct {
        std::string file, message;
    } cases[] = {
        {"", "no PSF header"},
        {"PK\x03\x04 and so on, which is no font at all", "no PSF header"},
        {good.substr(0, 20), "no PSF header"},
        {good.substr(0, 40), "too few"},
        {with(4, 1), "version 1"},
        {with(8, 8), "header of 8"},
        {with(8, 0xFFFFFFFF), "too few"},
        {with(16, 0), "0 glyphs"},
        {with(16, 3000), "too few"},
        {with(16, 0xFFFFFFFF), "glyphs"},
        {with(20, 15), "15 bytes each"},
        {with(24, 33), "x33 pixels"},
        {with(28, 0), "0x16"},
        {with(28, 0x10000008), "pixels"},
        {psf1(0, 8, {}).substr(0, 100), "too few"},
        {psf1(0, 0, {}), "x0 pixels"},
    };
    for (const auto& [file, message] : cases) {
        Loaded loaded(file);
        EXPECT_FALSE(loaded.result.ok()) << message;
        EXPECT_THAT(loaded.error(), HasSubstr(message));
        EXPECT_FALSE(loaded.font.loaded());
    }
}

TEST(PsfFont, ATableThatBreaksOffOrIsNoUtf8EndsTheSearchAndNothingElse) {
    for (const char* table :
         {"", "A", "A\xFF\xC3", "A\xFF\xE2\x82\xFF", "\xFE", "A\xFF\x80\x80\xFF", "A\xFF\xF8\x88\xFF"}) {
        std::string file = psf2({"", ""});
        file.resize(file.size() - 2);
        Loaded loaded(file + table);
        ASSERT_TRUE(loaded.result.ok());
        EXPECT_EQ(loaded.font.find('A'), table[0] == 'A' ? 0 : PsfFont::kNoGlyph);
        EXPECT_EQ(loaded.font.find(0x20AC), PsfFont::kNoGlyph);
    }
    // The odd byte was once waited for.
    EXPECT_EQ(Loaded(psf1(2, 8, {'x', 0xFFFE, 'y'}).substr(0, 4 + 256 * 8 + 5)).font.find('x'), 0);
}

TEST(PsfFont, SurvivesAnyBytes) {
    std::mt19937 random(1);
    const std::string good[] = {psf2({"A", "äÄ", "€"}), psf1(2, 8, {'a', 0xFFFF, 0xFFFE, 'b', 0xFFFF})};
    for (int i = 0; i < 20'000; ++i) {
        std::string file = good[i % 2];
        for (unsigned changes = random() % 4; changes-- > 0;)
            file[random() % (i % 3 ? 40 : file.size())] = static_cast<char>(random());
        if (random() % 2) file.resize(random() % file.size());
        Loaded loaded(file);
        if (!loaded.result.ok()) continue;
        for (uint32_t code_point : {uint32_t{'A'}, 0x20ACu}) {
            const uint16_t glyph = loaded.font.find(code_point);
            if (glyph != PsfFont::kNoGlyph) {
                ASSERT_LT(glyph, loaded.font.count());
                EXPECT_LE(loaded.font.bitmap(glyph)[loaded.font.glyph_bytes() - 1], 255);
            }
        }
    }
}

}  // namespace
}  // namespace bareflow
