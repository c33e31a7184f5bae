// What unpacks a packed kernel, with Debian's xz as the packer: all that xz packs comes back, and nothing that is damaged is taken
// for sound or leads out of the two buffers (which AddressSanitizer watches, on the heap and exactly as large as they say).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "arch/x86_64/packed/unpack.h"
#include "arch/x86_64/packed/x86_filter.h"

namespace bareflow {
namespace {

using Bytes = std::vector<uint8_t>;

/// What the shell command writes when it is given `input`.
Bytes piped(const std::string& command, const Bytes& input) {
    const std::string file = testing::TempDir() + "packed_test." + std::to_string(getpid());
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(input.data()), static_cast<std::streamsize>(input.size()));
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen((command + " < " + file).c_str(), "r"), pclose);
    Bytes output;
    for (int c = fgetc(pipe.get()); c != EOF; c = fgetc(pipe.get()))
        output.push_back(static_cast<uint8_t>(c));
    remove(file.c_str());
    return output;
}

/// The options that pack.sh gives xz.
std::string filters() {
    std::ifstream script("arch/x86_64/packed/pack.sh");
    const std::string begin = "xz_filters=(";
    for (std::string line; std::getline(script, line);) {
        if (line.starts_with(begin)) return line.substr(begin.size(), line.rfind(')') - begin.size());
    }
    ADD_FAILURE() << "pack.sh has no xz_filters";
    return {};
}
Bytes packed(const Bytes& plain) { return piped("xz -c --format=raw " + filters(), plain); }

uint32_t crc32_of(const Bytes& plain) {
    const Bytes gzip = piped("gzip -1 -n -c", plain);
    const uint8_t* const at = gzip.data() + gzip.size() - 8;
    return at[0] | at[1] << 8 | at[2] << 16 | static_cast<uint32_t>(at[3]) << 24;
}

Bytes random_bytes(size_t size, unsigned values) {
    std::mt19937 random(static_cast<unsigned>(size));
    Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() % values);
    return bytes;
}
/// This program: real code, with calls and jumps.
Bytes code() {
    std::ifstream file("/proc/self/exe", std::ios::binary);
    Bytes bytes(400'000);
    file.seekg(1 << 16).read(reinterpret_cast<char*>(bytes.data()),
                             static_cast<std::streamsize>(bytes.size()));
    EXPECT_TRUE(file.good());
    return bytes;
}
/// Nothing but opcodes, signs and what looks nearly like them: each rule of the filter applies.
Bytes opcodes() {
    static constexpr uint8_t kBytes[] = {0xE8, 0xE9, 0x00, 0xFF, 0x01, 0xFE};
    Bytes bytes = random_bytes(100'000, std::size(kBytes));
    for (uint8_t& byte : bytes) byte = kBytes[byte];
    return bytes;
}

std::vector<std::pair<std::string, Bytes>> varied() {
    Bytes runs;
    for (int i = 0; i < 2000; ++i)
        runs.insert(runs.end(), static_cast<size_t>(i % 600), static_cast<uint8_t>(i * 7));
    Bytes text;
    for (int i = 0; i < 20'000; ++i) {
        const std::string line = "field=" + std::to_string(i * i % 977) + " reason=\"none\"\n";
        text.insert(text.end(), line.begin(), line.end());
    }
    return {{"one byte", {42}},
            {"four opcodes at the end", {0xE8, 0xE8, 0xE8, 0xE8}},
            {"zeroes", Bytes(100'000)},
            {"runs", runs},
            {"text", text},
            {"noise", random_bytes(70'000, 256)},
            {"few values", random_bytes(90'000, 3)},
            {"far repetitions",
             [] {
                 Bytes bytes = random_bytes(300'000, 256);
                 for (size_t at = 200'000; at + 700 < bytes.size(); at += 1500)
                     std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(at / 9), 700,
                                 bytes.begin() + static_cast<ptrdiff_t>(at));
                 return bytes;
             }()},
            {"code", code()},
            {"opcodes", opcodes()}};
}

/// Buffers of their own of exactly these sizes.
struct Unpacked {
    const char* reason;
    Bytes bytes;
};
Unpacked unpack(const Bytes& input, size_t size, uint32_t crc32) {
    static LzmaModel model;
    const auto in = std::make_unique<uint8_t[]>(input.size());
    std::copy(input.begin(), input.end(), in.get());
    const auto out = std::make_unique<uint8_t[]>(size);
    const char* const reason = unpack_kernel(model, in.get(), input.size(), out.get(), size, crc32);
    return {reason, Bytes(out.get(), out.get() + size)};
}

TEST(PackedKernel, WhatXzPacksComesBack) {
    for (const auto& [name, plain] : varied()) {
        const Unpacked unpacked = unpack(packed(plain), plain.size(), crc32_of(plain));
        EXPECT_EQ(unpacked.reason, nullptr) << name << ": " << unpacked.reason;
        EXPECT_TRUE(unpacked.bytes == plain) << name;
    }
}

TEST(PackedKernel, AStreamThatIsCutShortIsRefused) {
    const Bytes plain = code();
    const Bytes input = packed(plain);
    const uint32_t crc32 = crc32_of(plain);
    // The end marker and the coder's last bytes, some ten, say nothing that is looked at.
    for (const size_t size : {size_t{0}, size_t{1}, size_t{4}, size_t{5}, size_t{6}, input.size() / 2,
                              input.size() - 100, input.size() - 20}) {
        EXPECT_STREQ(
            unpack(Bytes(input.begin(), input.begin() + static_cast<ptrdiff_t>(size)), plain.size(), crc32)
                .reason,
            "it does not unpack")
            << size;
    }
}

TEST(PackedKernel, AFlippedBitIsFound) {
    Bytes plain = code();
    plain.resize(30'000);
    const Bytes input = packed(plain);
    const uint32_t crc32 = crc32_of(plain);
    std::mt19937 random(1);
    for (int i = 0; i < 600; ++i) {
        Bytes damaged = input;
        // The first bytes all, then any, but for the last ten (above).
        const size_t bit = i < 100 ? static_cast<size_t>(i) : random() % ((input.size() - 12) * 8);
        damaged[bit / 8] ^= static_cast<uint8_t>(1u << bit % 8);
        const Unpacked unpacked = unpack(damaged, plain.size(), crc32);
        EXPECT_NE(unpacked.reason, nullptr) << "bit " << bit;
    }
}

TEST(PackedKernel, NoiseAndWrongSizesLeadNowhere) {
    const Bytes plain = opcodes();
    const Bytes input = packed(plain);
    for (const size_t size : {size_t{0}, size_t{1}, size_t{99'999}, size_t{100'001}, size_t{1'000'000}})
        EXPECT_NE(unpack(input, size, crc32_of(plain)).reason, nullptr) << size;
    for (unsigned i = 0; i < 300; ++i) {
        Bytes noise = random_bytes(1000 + i, 256);
        noise[0] = 0;  // as every stream begins
        EXPECT_NE(unpack(noise, 50'000, 0).reason, nullptr);
    }
}

TEST(PackedKernel, TheFilterStaysWithinWhatItIsGiven) {
    for (size_t size = 0; size < 12; ++size) {
        const auto bytes = std::make_unique<uint8_t[]>(size);
        std::fill_n(bytes.get(), size, uint8_t{0xE8});
        undo_x86_filter(bytes.get(), size);
    }
}

}  // namespace
}  // namespace bareflow
