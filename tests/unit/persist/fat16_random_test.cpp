// Random operations beside a shadow that keeps files in a map; then fsck.fat and mtools look at the result.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "tests/unit/base/sanitized.h"
#include "tests/unit/persist/fat_support.h"

namespace bareflow {
namespace {

struct Shape {
    const char* name;
    uint64_t bytes;
    const char* options;  ///< of mkfs.fat
    unsigned steps;       ///< more than 100,000 in all, and an eighth under sanitizers
    size_t largest;       ///< bytes of one append
};

std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.name; }

constexpr const char* kBallast = "BALLAST";

/// The names in a directory, apart from the ballast.
std::set<std::string> listed(Fat16& volume, const std::string& directory) {
    const auto names = names_in(volume, directory);
    std::set<std::string> result(names.begin(), names.end());
    EXPECT_EQ(result.size(), names.size());
    result.erase(kBallast);
    return result;
}

/// What the volume should hold: directories, and files with their bytes, by path.
class Shadow {
 public:
    Shadow(Fat16& volume, uint64_t seed, size_t largest)
        : volume_(volume), random_(seed), largest_(largest) {}

    /// One operation on both; what it should do follows from the shadow alone. Counts what it did in `done`.
    void step() {
        const unsigned choice = below(100);
        const std::string path = below(3) == 0 ? some_path() : some_file();
        if (choice < 14) {
            const std::string fresh = some_path();
            expect("create", fresh, volume_.create(fresh), can_make(fresh));
            if (last_ok_) files_[fresh];
        } else if (choice < 42) {
            append(path);
        } else if (choice < 52) {
            const auto file = files_.find(path);
            const size_t size = file == files_.end() ? 0 : below(file->second.size() + 2);
            const bool fine = file != files_.end() && size <= file->second.size();
            expect("truncate", path, volume_.truncate(path, size), fine);
            if (last_ok_) file->second.resize(size);
        } else if (choice < 60) {
            expect("remove", path, volume_.remove(path), files_.count(path) > 0);
            if (last_ok_) files_.erase(path);
        } else if (choice < 70) {
            rename(below(4) == 0 ? some_directory() : path, some_path());
        } else if (choice < 75) {
            const std::string fresh = some_path();
            expect("make_directory", fresh, volume_.make_directory(fresh), can_make(fresh));
            if (last_ok_) directories_.insert(fresh);
        } else if (choice < 79) {
            const std::string directory = below(2) == 0 ? some_path() : some_directory();
            const bool there = !directory.empty() && directories_.count(directory) > 0;
            expect("remove_directory", directory, volume_.remove_directory(directory),
                   there && children(directory).empty());
            if (last_ok_) directories_.erase(directory);
        } else if (choice < 82) {
            const std::string fresh = some_path();
            const size_t size = 1 + below(3 * largest_);
            const bool same = files_.count(fresh) > 0 && files_[fresh].size() == size;
            const bool possible = can_make(fresh) && !same;
            auto result = volume_.preallocate(fresh, size);
            if (!same) {
                expect("preallocate", fresh, std::move(result), possible);
                if (last_ok_) files_[fresh] = std::string(size, '\0');
            }
        } else if (choice < 96) {
            read(path);
        } else {
            const std::string directory = some_directory();
            ASSERT_EQ(listed(volume_, directory), children(directory)) << directory;
        }
    }

    /// Everything that there is, byte by byte, and the free space that follows from it.
    void check_all(Fat16& volume) {
        const auto clusters = [&](uint64_t bytes) {
            return (bytes + volume.cluster_bytes() - 1) / volume.cluster_bytes() * volume.cluster_bytes();
        };
        uint64_t least = 0;
        for (const auto& [path, text] : files_) {
            ASSERT_TRUE(text_of(volume, path) == text) << path;
            least += clusters(text.size());
        }
        for (const std::string& directory : directories_) {
            ASSERT_EQ(listed(volume, directory), children(directory)) << directory;
            if (!directory.empty()) least += clusters(1);
        }
        ASSERT_LE(least, volume.total_bytes() - volume.free_bytes());
    }

    const std::map<std::string, std::string>& files() const { return files_; }
    unsigned succeeded() const { return succeeded_; }
    unsigned refused_for_space() const { return refused_for_space_; }

 private:
    size_t below(size_t end) { return random_() % end; }

    static std::string parent_of(const std::string& path) {
        const size_t slash = path.rfind('/');
        return slash == std::string::npos ? "" : path.substr(0, slash);
    }
    std::string some_directory() {
        auto it = directories_.begin();
        std::advance(it, below(directories_.size()));
        return *it;
    }
    std::string some_file() {
        if (files_.empty()) return "NONE";
        auto it = files_.begin();
        std::advance(it, below(files_.size()));
        return it->first;
    }
    /// A name in a directory that is there, or nearly: it may be taken, or the directory a file.
    std::string some_path() {
        std::string parent = below(20) == 0 ? some_file() : some_directory();
        std::string name = "N" + std::to_string(below(30)) + (below(2) == 0 ? ".TXT" : "");
        return parent.empty() ? name : parent + "/" + name;
    }
    bool exists(const std::string& path) const { return files_.count(path) + directories_.count(path) > 0; }
    bool can_make(const std::string& path) const {
        return directories_.count(parent_of(path)) > 0 && !exists(path);
    }
    std::set<std::string> children(const std::string& directory) const {
        std::set<std::string> names;
        const auto consider = [&](const std::string& path) {
            if (!path.empty() && parent_of(path) == directory) names.insert(path.substr(path.rfind('/') + 1));
        };
        for (const auto& file : files_) consider(file.first);
        for (const auto& other : directories_) consider(other);
        return names;
    }

    /// A step that should work may be refused for want of space, and then has changed nothing.
    void expect(const char* what, const std::string& path, Result<void> result, bool should) {
        last_ok_ = result.ok();
        succeeded_ += result.ok();
        const bool space = !result.ok() && result.error().code() == ErrorCode::kOutOfRange;
        refused_for_space_ += should && space;
        if (!should) {
            ASSERT_FALSE(last_ok_) << what << " " << path;
        } else if (!space) {
            ASSERT_TRUE(last_ok_) << what << " " << path << ": " << message_of(result);
        }
    }

    void append(const std::string& path) {
        std::string text(below(4) == 0 ? below(largest_) : below(600), '\0');
        const uint64_t start = random_();
        for (size_t i = 0; i < text.size(); ++i)
            text[i] = static_cast<char>((start + i) * 0x9E3779B97F4A7C15 >> 56);
        const auto file = files_.find(path);
        expect("append", path, volume_.append(path, bytes_of(text)), file != files_.end());
        if (last_ok_) file->second += text;
    }

    void rename(const std::string& from, const std::string& to) {
        const bool into_itself = directories_.count(from) > 0 && (to + "/").starts_with(from + "/");
        const bool same = from == to && exists(from);
        const bool fine = same || (!from.empty() && exists(from) && can_make(to) && !into_itself);
        expect("rename", from + " " + to, volume_.rename(from, to), fine);
        if (!last_ok_ || same) return;
        if (const auto file = files_.find(from); file != files_.end()) {
            files_[to] = std::move(file->second);
            files_.erase(from);
            return;
        }
        const auto moved = [&](const std::string& path) { return to + path.substr(from.size()); };
        const auto below_from = [&](const std::string& path) { return (path + "/").starts_with(from + "/"); };
        std::map<std::string, std::string> files;
        for (auto& [path, text] : files_) files[below_from(path) ? moved(path) : path] = std::move(text);
        files_ = std::move(files);
        std::set<std::string> directories;
        for (const auto& path : directories_) directories.insert(below_from(path) ? moved(path) : path);
        directories_ = std::move(directories);
    }

    void read(const std::string& path) {
        const auto file = files_.find(path);
        if (file == files_.end()) return;
        const size_t offset = below(file->second.size() + 1), size = below(file->second.size() - offset + 1);
        std::string out(size, '\0');
        ASSERT_OK(volume_.read(path, offset, {reinterpret_cast<uint8_t*>(out.data()), size}));
        ASSERT_TRUE(out == file->second.substr(offset, size)) << path;
    }

    Fat16& volume_;
    std::mt19937_64 random_;
    size_t largest_;
    std::map<std::string, std::string> files_;
    std::set<std::string> directories_ = {""};
    bool last_ok_ = false;
    unsigned succeeded_ = 0, refused_for_space_ = 0;
};

struct RandomOperations : testing::TestWithParam<Shape> {};

TEST_P(RandomOperations, LeaveWhatTheShadowHas) {
    const Shape& shape = GetParam();
    MemoryDisk disk(shape.bytes);
    const CommandOutcome made = make_fat(disk, shape.options);
    ASSERT_EQ(made.status, 0) << made.output;
    auto volume = std::make_unique<Mounted>(disk);
    // Nearly all of the volume is taken, so that the rest is soon in pieces and full from time to time.
    const uint64_t left = std::max<uint64_t>(3 * kMiB / 2, 100 * (*volume)->cluster_bytes());
    ASSERT_OK(
        (*volume)->preallocate(kBallast, std::min<uint64_t>((*volume)->free_bytes() - left, UINT32_MAX)));
    const uint32_t ballast = (*volume)->info(kBallast).take().size;
    Shadow shadow(**volume, shape.bytes, shape.largest);
    const unsigned steps = kSanitized ? shape.steps / 8 : shape.steps;
    for (unsigned step = 0; step < steps && !testing::Test::HasFatalFailure(); ++step) shadow.step();
    ASSERT_FALSE(testing::Test::HasFatalFailure());
    EXPECT_GT(shadow.succeeded(), steps / 4);
    EXPECT_GT(shadow.refused_for_space(), 0u) << "the disk should be full now and then";

    ASSERT_OK((*volume)->unmount());
    volume = std::make_unique<Mounted>(disk);
    EXPECT_EQ((*volume)->info(kBallast).take().size, ballast);
    EXPECT_EQ(fsck_fat(disk), "");
    shadow.check_all(**volume);
    unsigned looked_at = 0;
    for (const auto& [path, text] : shadow.files()) {
        if (looked_at++ == 40) break;
        EXPECT_TRUE(mtools_read(disk, "/" + path) == text) << path;
    }
}

INSTANTIATE_TEST_SUITE_P(
    Volumes, RandomOperations,
    testing::Values(Shape{"smallest", 4152 * 512, "-F 16 -s 1 -r 512 -R 1 -f 2 -a", 30'000, 20'000},
                    Shape{"one_fat", 16 * kMiB, "-F 16 -s 4 -f 1", 25'000, 40'000},
                    Shape{"usual", 64 * kMiB, "-F 16 -s 8", 25'000, 60'000},
                    Shape{"two_gigabytes", 2047 * kMiB, "-F 16 -s 64", 20'000, 120'000},
                    Shape{"four_gigabytes", 4090 * kMiB, "-F 16 -s 128", 10'000, 200'000}),
    [](const auto& shape) { return std::string(shape.param.name); });

}  // namespace
}  // namespace bareflow
