#include "arch/x86_64/multiboot2.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace bareflow {
namespace {

/// Builds a boot information block tag by tag, as a loader would.
class Block {
 public:
    Block() { bytes_.resize(8); }
    Block& tag(uint32_t type, const std::string& body) {
        const uint32_t header[2] = {type, static_cast<uint32_t>(8 + body.size())};
        append(header, sizeof header);
        append(body.data(), body.size());
        bytes_.resize((bytes_.size() + 7) / 8 * 8);
        return *this;
    }
    Block& memory(uint64_t base, uint64_t length, uint32_t type) {
        std::string body(8 + 24, '\0');
        const uint32_t sizes[2] = {24, 0};
        std::memcpy(body.data(), sizes, 8);
        std::memcpy(body.data() + 8, &base, 8);
        std::memcpy(body.data() + 16, &length, 8);
        std::memcpy(body.data() + 24, &type, 4);
        return tag(6, body);
    }
    Block& module(uint32_t start, uint32_t end, const std::string& name) {
        std::string body(8, '\0');
        std::memcpy(body.data(), &start, 4);
        std::memcpy(body.data() + 4, &end, 4);
        return tag(3, body + name + '\0');
    }
    Result<BootInformation> parse(uint32_t magic = kMultiboot2BootMagic) {
        tag(0, "");
        return parse_with_size(static_cast<uint32_t>(bytes_.size()), magic);
    }
    Result<BootInformation> parse_with_size(uint32_t size, uint32_t magic = kMultiboot2BootMagic) {
        std::memcpy(bytes_.data(), &size, 4);
        return parse_boot_information(magic, reinterpret_cast<uint64_t>(bytes_.data()));
    }
    std::vector<uint8_t>& bytes() { return bytes_; }

 private:
    void append(const void* data, size_t size) {
        auto* p = static_cast<const uint8_t*>(data);
        bytes_.insert(bytes_.end(), p, p + size);
    }
    std::vector<uint8_t> bytes_;
};

TEST(Multiboot2, FindsMemoryModulesCommandLineAndRootPointer) {
    Block block;
    block.tag(1, std::string("temp=0 n=5\0", 11))
        .memory(0, 0x9F000, 1)
        .memory(0x100000, 0x7F00000, 1)
        .memory(0x7FE0000, 0x20000, 3)
        .module(0x200000, 0x280000, "model")
        .tag(14, "RSD PTR old.........")
        .tag(15, "RSD PTR new.........");
    const auto info = block.parse();
    ASSERT_TRUE(info.ok()) << info.error().message();
    EXPECT_EQ(info.value().command_line, "temp=0 n=5");
    ASSERT_EQ(info.value().usable_count, 2u);
    EXPECT_EQ(info.value().usable[1].start, 0x100000u);
    EXPECT_EQ(info.value().ram_bytes, 0x9F000u + 0x7F00000u);
    EXPECT_EQ(info.value().module("model").size(), 0x80000u);
    EXPECT_TRUE(info.value().module("other").empty());
    EXPECT_EQ(info.value().rsdp[8], 'n') << "the newer root pointer wins";
}

TEST(Multiboot2, ReadsTheFramebuffersTag) {
    // As GRUB 2.06 leaves it on QEMU's std VGA (3.6.12).
    const std::string tag(
        "\0\0\0\xFD\0\0\0\0"  // address
        "\0\x14\0\0\0\x05\0\0\x20\x03\0\0\x20\x01\0\0"
        "\x10\x08\x08\x08\0\x08",
        30);
    Block block;
    const auto info = block.memory(0x100000, 0x100000, 1).tag(8, tag).parse();
    ASSERT_TRUE(info.ok());
    const BootFramebuffer& screen = info.value().framebuffer;
    EXPECT_EQ(screen.address, 0xFD000000u);
    EXPECT_EQ(screen.pitch, 5120u);
    EXPECT_EQ(screen.width, 1280u);
    EXPECT_EQ(screen.height, 800u);
    EXPECT_EQ(screen.bits_per_pixel, 32);
    EXPECT_EQ(screen.kind, BootFramebuffer::kDirect);
    EXPECT_EQ(screen.red.position, 16);
    EXPECT_EQ(screen.green.position, 8);
    EXPECT_EQ(screen.blue.bits, 8);

    for (size_t size = 0; size < tag.size(); ++size) {
        Block cut;
        EXPECT_TRUE(cut.memory(0x100000, 0x100000, 1).tag(8, tag.substr(0, size)).parse().ok());
    }
    Block without;
    EXPECT_EQ(without.memory(0x100000, 0x100000, 1).parse().value().framebuffer.kind, BootFramebuffer::kNone);
}

TEST(Multiboot2, RefusesAnotherLoadersMagic) {
    Block block;
    block.memory(0, 0x100000, 1);
    const auto info = block.parse(0x2BADB002);
    ASSERT_FALSE(info.ok());
    EXPECT_NE(info.error().message().find("0x2badb002"), std::string_view::npos);
}

TEST(Multiboot2, RefusesABlockWithoutAMemoryMap) {
    Block block;
    block.tag(1, "x");
    EXPECT_FALSE(block.parse().ok());
}

TEST(Multiboot2, RefusesTagsThatReachBeyondTheBlock) {
    for (const uint32_t size : {0u, 7u, 200u, 0xFFFFFFFFu}) {
        Block block;
        block.memory(0, 0x100000, 1).tag(99, "unknown");
        const size_t tag_start = block.bytes().size() - 16;
        std::memcpy(block.bytes().data() + tag_start + 4, &size, 4);
        EXPECT_FALSE(block.parse().ok()) << "tag size " << size;
    }
}

TEST(Multiboot2, EndsAtTheBlocksEndWhenTheEndTagIsMissing) {
    Block block;
    block.memory(0, 0x100000, 1);
    const auto info = block.parse_with_size(static_cast<uint32_t>(block.bytes().size()));
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info.value().usable_count, 1u);
}

TEST(Multiboot2, LeavesOutModulesThatEndBeforeTheyBegin) {
    Block block;
    block.memory(0, 0x100000, 1).module(0x300000, 0x200000, "model");
    EXPECT_EQ(block.parse().value().module_count, 0u);
}

TEST(Multiboot2, TakesNoMoreModulesAndRangesThanItHasRoomFor) {
    Block block;
    for (int i = 0; i < 300; ++i) block.memory(0x100000 * (i + 1), 0x1000, 1).module(0x1000, 0x2000, "m");
    const auto info = block.parse();
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info.value().usable_count, BootInformation::kMaxRanges);
    EXPECT_EQ(info.value().module_count, BootInformation::kMaxModules);
}

}  // namespace
}  // namespace bareflow
