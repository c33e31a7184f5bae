#include "model/tools/model_cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "model/tools/std_allocator.h"
#include "model/weights.h"

namespace bareflow {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostKept = 6;
constexpr std::string_view kSuffix = ".wllm";

/// What tells a file from another at the same place, or itself from what it was before.
std::string identity_of(const fs::path& path) {
    std::error_code ignored;
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) return path.string() + "\n";
    std::string identity = fs::absolute(path, ignored).lexically_normal().string();
    const auto add = [&](auto number) { identity += " " + std::to_string(number); };
    add(status.st_dev);
    add(status.st_ino);
    add(status.st_size);
    add(status.st_mtim.tv_sec);
    add(status.st_mtim.tv_nsec);
    return identity + "\n";
}

/// A model's files: itself, or those of its folder in the order of their names.
std::vector<std::string> files_of(const fs::path& model) {
    std::error_code ignored;
    if (!fs::is_directory(model, ignored)) return {model};
    std::vector<std::string> files;
    for (fs::directory_iterator entry(model, ignored), end; entry != end; entry.increment(ignored)) {
        if (entry->is_regular_file(ignored)) files.push_back(entry->path());
    }
    std::sort(files.begin(), files.end());
    return files;
}

/// FNV-1a, 64 bits.
uint64_t hash_of(std::string_view text) {
    uint64_t hash = 0xCBF29CE484222325;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
    return hash;
}

/// The newest stay.
void prune(const fs::path& folder) {
    std::error_code ignored;
    std::vector<std::pair<fs::file_time_type, fs::path>> kept;
    for (fs::directory_iterator entry(folder, ignored), end; entry != end; entry.increment(ignored)) {
        if (entry->path().extension() == kSuffix)
            kept.emplace_back(entry->last_write_time(ignored), entry->path());
    }
    std::sort(kept.rbegin(), kept.rend());
    for (size_t i = kMostKept; i < kept.size(); ++i) fs::remove(kept[i].second, ignored);
}

}  // namespace

ModelCache ModelCache::of_user() {
    const auto set = [](const char* name) {
        const char* value = std::getenv(name);
        return fs::path(value == nullptr ? "" : value);
    };
    if (set("XDG_CACHE_HOME").is_absolute()) return {.folder = set("XDG_CACHE_HOME") / "bareflow"};
    if (set("HOME").is_absolute()) return {.folder = set("HOME") / ".cache" / "bareflow"};
    return {};
}

bool ModelCache::keeps(const std::string& path) const {
    std::error_code failed;
    uint64_t size = 0;
    for (const std::string& file : files_of(path)) size += fs::file_size(file, failed);
    return !folder.empty() && !failed && size >= least_bytes;
}

std::string ModelCache::path_of(const ImportRequest& request) const {
    std::string identity = identity_of("/proc/self/exe");
    for (const std::string& file : files_of(request.model)) identity += identity_of(file);
    if (!request.tokenizer.empty()) {
        identity += identity_of(request.tokenizer);
    } else {
        // Any of these may be its tokenizer, and which one depends on all of them.
        const fs::path parent = fs::path(request.model).parent_path();
        for (const std::string& file : files_of(parent.empty() ? "." : parent)) {
            if (file.ends_with(".bin")) identity += identity_of(file);
        }
    }
    const auto name = FixedString<16>::formatted("{:016x}", hash_of(identity));
    return fs::path(folder) / (std::string(name.view()) + std::string(kSuffix));
}

Result<MappedFile> ModelCache::find(const std::string& kept) {
    MappedFile file = TRY(MappedFile::open(kept));
    // To its last byte: whoever loads it could only refuse it, now and each time that it is found again.
    StdAllocator allocator;
    Weights weights = TRY(load_weights(file.bytes(), allocator));
    free_weights(weights);
    std::error_code ignored;
    fs::last_write_time(kept, fs::file_time_type::clock::now(), ignored);  // the last that goes
    return file;
}

Result<MappedFile> ModelCache::add(const ImportRequest& request, const std::string& kept) const {
    std::error_code ignored;
    fs::create_directories(folder, ignored);
    remove_abandoned(folder);
    fs::remove(kept, ignored);  // a damaged one
    TRY(import_model(request, kept));
    prune(folder);
    return MappedFile::open(kept);
}

}  // namespace bareflow
