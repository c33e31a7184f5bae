#include "arch/x86_64/framebuffer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/unit/arch/psf_fonts.h"

namespace bareflow {
namespace {

struct Format {
    const char* name;
    uint8_t bits;
    ColourField red, green, blue;
    uint32_t light_grey, bright_red;  ///< 170, 170, 170 and 255, 85, 85 in it
};
constexpr Format kFormats[] = {
    {"xrgb8888", 32, {16, 8}, {8, 8}, {0, 8}, 0xAAAAAA, 0xFF5555},
    {"xbgr8888", 32, {0, 8}, {8, 8}, {16, 8}, 0xAAAAAA, 0x5555FF},
    {"xrgb2101010", 32, {20, 10}, {10, 10}, {0, 10}, 0x2AAAAAAA, 0x3FF55555},
    {"rgb888", 24, {16, 8}, {8, 8}, {0, 8}, 0xAAAAAA, 0xFF5555},
    {"rgb565", 16, {11, 5}, {5, 6}, {0, 5}, 0xAD55, 0xFAAA},
    {"xrgb1555", 15, {10, 5}, {5, 5}, {0, 5}, 0x56B5, 0x7D4A},
};

BootFramebuffer layout_of(const Format& format, uint32_t width, uint32_t height, uint32_t slack) {
    return {.address = 0,
            .pitch = width * ((format.bits + 7u) / 8) + slack,
            .width = width,
            .height = height,
            .bits_per_pixel = format.bits,
            .kind = BootFramebuffer::kDirect,
            .red = format.red,
            .green = format.green,
            .blue = format.blue};
}

/// Glyph 0 is a blank, glyph 1 has its rightmost pixel column set.
struct FramebufferTest : testing::TestWithParam<Format> {
    FramebufferTest() : file(bytes_of(psf2({" ", "A"}))) { EXPECT_TRUE(font.load(file).ok()); }
    /// The pixel as the format's number; bytes beyond are 0.
    uint32_t pixel(uint32_t x, uint32_t y) const {
        const size_t bytes = (layout.bits_per_pixel + 7u) / 8;
        uint32_t value = 0;
        std::memcpy(&value, memory.data() + size_t{y} * layout.pitch + x * bytes, bytes);
        return value;
    }
    void start(uint32_t width, uint32_t height, uint32_t slack) {
        layout = layout_of(GetParam(), width, height, slack);
        memory.assign(layout.bytes(), 0xEE);
        ASSERT_TRUE(FramebufferSurface::check(layout).ok());
        surface.start(layout, memory.data(), font);
    }
    std::vector<uint8_t> file, memory;
    PsfFont font;
    BootFramebuffer layout;
    FramebufferSurface surface;
};

TEST_P(FramebufferTest, DrawsAGlyphInTheTagsColoursAndNothingBesideIt) {
    start(30, 50, 6);
    EXPECT_EQ(surface.columns(), 3u);
    EXPECT_EQ(surface.rows(), 3u);
    EXPECT_EQ(memory, std::vector<uint8_t>(memory.size(), 0)) << "black at first";
    surface.draw(1, 2, {1, 7, 9});
    for (uint32_t y = 0; y < 50; ++y) {
        for (uint32_t x = 0; x < 30; ++x) {
            const bool within = x >= 8 && x < 16 && y >= 32 && y < 48;
            const uint32_t expected = !within ? 0 : x == 15 ? GetParam().light_grey : GetParam().bright_red;
            ASSERT_EQ(pixel(x, y), expected) << x << "," << y;
        }
    }
}

TEST_P(FramebufferTest, TheLastCellIsDrawnWithinTheMemory) {
    start(32, 32, 0);
    surface.draw(3, 1, {1, 7, 0});  // the sanitizers see a step beyond it
    EXPECT_EQ(pixel(31, 31), GetParam().light_grey);
}

TEST_P(FramebufferTest, APixelIsDoubledOnAScreenOfManyPixels) {
    start(2560, 64, 0);
    EXPECT_EQ(surface.columns(), 160u);
    EXPECT_EQ(surface.rows(), 2u);
    surface.draw(0, 0, {1, 7, 0});
    for (uint32_t y = 0; y < 32; ++y) {
        for (uint32_t x = 0; x < 20; ++x) {
            ASSERT_EQ(pixel(x, y), x == 14 || x == 15 ? GetParam().light_grey : 0u) << x << "," << y;
        }
    }
}

TEST_P(FramebufferTest, AMissingGlyphIsABoxWithinItsCell) {
    start(16, 32, 0);
    const uint16_t glyph = surface.glyph_of(U'世');
    surface.draw(0, 0, {glyph, 7, 0});
    std::string shown;
    for (uint32_t y = 0; y < 16; ++y) {
        for (uint32_t x = 0; x < 8; ++x) shown += pixel(x, y) ? '#' : '.';
        shown += '\n';
    }
    std::string expected = "........\n........\n.######.\n";
    for (int i = 0; i < 10; ++i) expected += ".#....#.\n";
    EXPECT_EQ(shown, expected + ".######.\n........\n........\n");
}

std::string name_of_format(const testing::TestParamInfo<Format>& format) { return format.param.name; }
INSTANTIATE_TEST_SUITE_P(Formats, FramebufferTest, testing::ValuesIn(kFormats), name_of_format);

TEST(Framebuffer, RefusesWhatItCannotDrawOn) {
    const BootFramebuffer good = layout_of(kFormats[0], 800, 600, 0);
    ASSERT_TRUE(FramebufferSurface::check(good).ok());
    const struct {
        const char* why;
        void (*change)(BootFramebuffer&);
    } cases[] = {
        {"palette", [](auto& f) { f.kind = BootFramebuffer::kPalette; }},
        {"text", [](auto& f) { f.kind = BootFramebuffer::kText; }},
        {"8 bits", [](auto& f) { f.bits_per_pixel = 8; }},
        {"64 bits", [](auto& f) { f.bits_per_pixel = 64; }},
        {"no pixels", [](auto& f) { f.width = 0; }},
        {"no rows", [](auto& f) { f.height = 0; }},
        {"too wide", [](auto& f) { f.width = 0xFFFFFFFF; }},
        {"too high", [](auto& f) { f.height = 0x80000000; }},
        {"rows overlap", [](auto& f) { f.pitch = 3199; }},
        {"a row too long", [](auto& f) { f.pitch = 0xFFFFFFFC; }},
        {"red beyond the pixel",
         [](auto& f) {
             f.red = {25, 8};
         }},
        {"blue of 200 bits",
         [](auto& f) {
             f.blue = {0, 200};
         }},
    };
    for (const auto& [why, change] : cases) {
        BootFramebuffer broken = good;
        change(broken);
        EXPECT_FALSE(FramebufferSurface::check(broken).ok()) << why;
    }
}

TEST(VgaText, PutsCodePage437AndVgasColours) {
    std::vector<uint16_t> memory(80 * 25, 0xEEEE);
    VgaTextSurface vga;
    ASSERT_TRUE(vga.start(memory.data(), 80, 25));
    EXPECT_EQ(memory[1999], 0x0720);
    auto draw = [&](char32_t character, uint8_t ink, uint8_t paper) {
        vga.draw(2, 1, {vga.glyph_of(character), ink, paper});
        return memory[82];
    };
    EXPECT_EQ(draw(U'A', 7, 0), 0x0741);
    EXPECT_EQ(draw(U'ä', 1, 0), 0x0484) << "red is VGA's 4";
    EXPECT_EQ(draw(U'ß', 12, 3), 0x69E1) << "bright blue is 9, yellow 6";
    EXPECT_EQ(draw(U'█', 7, 15), 0x77DB) << "no paper is bright: it would blink";
    EXPECT_EQ(draw(U'世', 7, 0), 0x07FE) << "a square for what the code page has not";
    EXPECT_EQ(draw(U'\U0001F600', 7, 0), 0x07FE);
}

}  // namespace
}  // namespace bareflow
