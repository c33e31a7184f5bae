// What is imported once is found again, until what it was made from changes.
#include "model/tools/model_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <sys/wait.h>

#include "model/tools/open_model.h"
#include "tests/unit/model/gguf_support.h"

namespace bareflow::gguf {
namespace {

class ModelCacheTest : public ::testing::Test {
 protected:
    /// The hash of what opening the model gives.
    uint32_t open(const ModelCache& with) {
        const auto file = open_model(model, "", false, with);
        EXPECT_TRUE(file.ok()) << file.error().message();
        const auto weights = load_weights(file.value().bytes(), allocator);
        EXPECT_TRUE(weights.ok()) << weights.error().message();
        return weights.ok() ? weights.value().hash : 0;
    }
    std::vector<std::string> kept() const {
        std::vector<std::string> names;
        std::error_code none;
        for (const auto& entry : std::filesystem::directory_iterator(cache.folder, none))
            names.push_back(entry.path());
        return names;
    }
    TemporaryFolder folder;
    StdAllocator allocator;
    std::string model = folder.write("m.gguf", Parts().bytes());
    ModelCache cache{.folder = folder / "made/for/it", .least_bytes = 1};
};

TEST_F(ModelCacheTest, FindsWhatItKept) {
    const uint32_t hash = open(cache);
    ASSERT_EQ(kept().size(), 1u);
    // Were it imported again, this would be written over.
    const auto long_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(100);
    const auto inode = [&] {
        struct stat status {};
        stat(kept()[0].c_str(), &status);
        return status.st_ino;
    };
    const auto before = inode();
    std::filesystem::last_write_time(kept()[0], long_ago);
    EXPECT_EQ(open(cache), hash);
    EXPECT_EQ(inode(), before);
    EXPECT_GT(std::filesystem::last_write_time(kept()[0]),
              long_ago + std::chrono::hours(1));  // used just now
}

TEST_F(ModelCacheTest, ImportsAnewWhatHasChanged) {
    const uint32_t hash = open(cache);
    folder.write("m.gguf", Parts(gguf_config(false)).bytes());
    EXPECT_NE(open(cache), hash);
    EXPECT_EQ(kept().size(), 2u);
}

TEST_F(ModelCacheTest, ImportsAnewWhereWhatWasKeptIsDamaged) {
    const uint32_t hash = open(cache);
    const std::string file = kept().at(0);
    Bytes bytes = read_file(file);
    for (const size_t size : {size_t{0}, size_t{100}, bytes.size() - 1}) {
        std::filesystem::resize_file(file, size);
        EXPECT_EQ(open(cache), hash) << size;
    }
    for (const size_t damaged : {size_t{0}, size_t{20}, bytes.size() / 2}) {
        Bytes rotten = bytes;
        rotten[damaged] ^= 1;
        std::ofstream(file, std::ios::binary)
            .write(reinterpret_cast<const char*>(rotten.data()), static_cast<long>(rotten.size()));
        ::testing::internal::CaptureStderr();
        EXPECT_EQ(open(cache), hash) << damaged;
        EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::HasSubstr("it is made anew"));
        EXPECT_EQ(read_file(file), bytes);
    }
}

TEST_F(ModelCacheTest, TakesAwayWhatInterruptedImportsLeft) {
    const pid_t gone = fork();
    if (gone == 0) _exit(0);
    waitpid(gone, nullptr, 0);
    std::filesystem::create_directories(cache.folder);
    const auto leave = [&](const std::string& name) {
        std::ofstream(cache.folder + "/" + name) << "half of a model";
        return cache.folder + "/" + name;
    };
    const std::string left = leave("a.wllm.partial-" + std::to_string(gone));
    const std::string written_now = leave("b.wllm.partial-" + std::to_string(getpid()));
    const std::string others[] = {leave("c.partial-x"), leave("d.partial-"), leave("e.partial-0"),
                                  leave("f.partial")};
    open(cache);
    EXPECT_FALSE(std::filesystem::exists(left));
    EXPECT_TRUE(std::filesystem::exists(written_now));
    for (const std::string& other : others) EXPECT_TRUE(std::filesystem::exists(other)) << other;
}

TEST_F(ModelCacheTest, KeepsTheNewestSix) {
    for (uint32_t context = 1; context <= 8; ++context) {
        ModelConfig config = gguf_config();
        config.context_length = context;
        folder.write("m.gguf", Parts(config).bytes());
        open(cache);
    }
    EXPECT_EQ(kept().size(), 6u);
}

TEST_F(ModelCacheTest, DoesWithoutWhereItCannotOrNeedNotKeepAnything) {
    const uint32_t hash = open(cache);
    EXPECT_EQ(open({}), hash);
    EXPECT_EQ(open({.folder = "/proc/no/such/folder", .least_bytes = 1}), hash);
    const ModelCache larger_only{.folder = folder / "larger", .least_bytes = uint64_t{32} << 20};
    EXPECT_EQ(open(larger_only), hash);
    EXPECT_FALSE(std::filesystem::exists(larger_only.folder));
}

TEST_F(ModelCacheTest, LeavesNothingBehindWhenTheModelIsWrong) {
    Parts parts;
    parts.metadata.text("general.architecture", "gpt2");
    folder.write("m.gguf", parts.bytes());
    const auto opened = open_model(model, "", false, cache);
    ASSERT_FALSE(opened.ok());
    EXPECT_THAT(std::string(opened.error().message()), ::testing::HasSubstr("it is gpt2"));
    EXPECT_TRUE(kept().empty());
}

TEST_F(ModelCacheTest, StandsWhereXdgSays) {
    setenv("XDG_CACHE_HOME", "/somewhere", 1);
    EXPECT_EQ(ModelCache::of_user().folder, "/somewhere/bareflow");
    setenv("XDG_CACHE_HOME", "not/absolute", 1);
    setenv("HOME", "/home/someone", 1);
    EXPECT_EQ(ModelCache::of_user().folder, "/home/someone/.cache/bareflow");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    EXPECT_EQ(ModelCache::of_user().folder, "");
}

}  // namespace
}  // namespace bareflow::gguf
