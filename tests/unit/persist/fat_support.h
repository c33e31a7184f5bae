// Volumes for tests: made by mkfs.fat, checked by fsck.fat, read and written by mtools.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "persist/fat16.h"
#include "tests/unit/base/test_allocator.h"
#include "tests/unit/persist/memory_disk.h"

namespace bareflow {

struct CommandOutcome {
    int status = -1;
    std::string output;  ///< stdout and stderr
};

inline CommandOutcome run_command(const std::string& command) {
    CommandOutcome outcome;
    // Debian has fsck.fat and mkfs.fat where only root looks.
    FILE* pipe = popen(
        ("{ PATH=$PATH:/usr/sbin:/sbin; export MTOOLS_SKIP_CHECK=1 LC_ALL=C.UTF-8; " + command + "; } 2>&1")
            .c_str(),
        "r");
    if (pipe == nullptr) return outcome;
    char buffer[4096];
    for (size_t got; (got = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) outcome.output.append(buffer, got);
    const int status = pclose(pipe);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return outcome;
}

inline CommandOutcome make_fat(const MemoryDisk& disk, const std::string& options) {
    return run_command("mkfs.fat -i 12345678 " + options + " " + disk.path());
}

/// fsck.fat's findings; empty if the volume is well, down to its free count and dirty bit. `offset`: the volume's first
/// byte on the disk, which then is copied.
inline std::string fsck_fat(const MemoryDisk& disk) {
    const CommandOutcome outcome = run_command("fsck.fat -n " + disk.path());
    return outcome.status == 0 ? "" : outcome.output;
}

/// A file's bytes as mtools sees them. Names and paths in mtools' way, without drive.
inline std::string mtools_read(const MemoryDisk& disk, const std::string& path) {
    return run_command("mtype -i " + disk.path() + " ::" + path).output;
}

struct Mounted {
    TestAllocator allocator;
    std::unique_ptr<Fat16> volume;

    explicit Mounted(BlockDevice& disk) {
        auto result = Fat16::mount(disk, {0, disk.limits().sectors}, allocator);
        if (!result.ok()) throw std::runtime_error(std::string(result.error().message()));
        volume = std::make_unique<Fat16>(result.take());
    }
    Fat16* operator->() { return volume.get(); }
    Fat16& operator*() { return *volume; }
};

inline ByteSpan bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// All of a file; what went wrong instead, in angle brackets.
inline std::string text_of(Fat16& volume, std::string_view path) {
    auto info = volume.info(path);
    if (!info.ok()) return "<" + std::string(info.error().message()) + ">";
    std::string text(info.value().size, '\0');
    auto read = volume.read(path, 0, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
    return read.ok() ? text : "<" + std::string(read.error().message()) + ">";
}

inline std::vector<std::string> names_in(Fat16& volume, std::string_view path) {
    std::vector<std::string> names;
    auto listing = volume.list(path);
    if (!listing.ok()) return {"<" + std::string(listing.error().message()) + ">"};
    FileInfo info;
    for (;;) {
        auto more = listing.value().next(info);
        if (!more.ok()) return {"<" + std::string(more.error().message()) + ">"};
        if (!more.value()) return names;
        names.emplace_back(info.name.view());
    }
}

template <typename T>
std::string message_of(const Result<T>& result) {
    return result.ok() ? "" : std::string(result.error().message());
}

#define EXPECT_OK(expression) EXPECT_EQ(::bareflow::message_of(expression), "")
#define ASSERT_OK(expression) ASSERT_EQ(::bareflow::message_of(expression), "")
#define EXPECT_FAILS(expression, expected_code, words)                                          \
    do {                                                                                        \
        const auto& failing_ = (expression);                                                    \
        ASSERT_FALSE(failing_.ok());                                                            \
        EXPECT_EQ(failing_.error().code(), ErrorCode::expected_code) << message_of(failing_);   \
        EXPECT_NE(message_of(failing_).find(words), std::string::npos) << message_of(failing_); \
    } while (0)

constexpr uint64_t kMiB = 1 << 20;

}  // namespace bareflow
