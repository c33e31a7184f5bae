#include "model/tools/open_model.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <cstdio>

#include "model/tools/import.h"

namespace bareflow {
namespace {

Result<MappedFile> import_into_memory(const ImportRequest& request) {
    const std::string name = base_name(request.model);
    const Descriptor memory(memfd_create("bareflow-model", MFD_CLOEXEC));
    if (memory.get() < 0) {
        return Error::make(ErrorCode::kOutOfMemory, "no memory to import {} into: {}", std::string_view(name),
                           strerror(errno));
    }
    TRY(import_model(request, memory.get()));
    return MappedFile::map(memory.get(), name);
}

/// Into the cache where that is possible: a full disk, or a folder that cannot be written to, costs nothing but time.
Result<MappedFile> import(const ImportRequest& request, const ModelCache& cache) {
    if (!cache.keeps(request.model)) return import_into_memory(request);
    const std::string kept = cache.path_of(request);
    Result<MappedFile> found = ModelCache::find(kept);
    if (found.ok()) return found;
    if (found.error().code() != ErrorCode::kNotFound) {
        std::fprintf(stderr, "bareflow: what was kept of %s is damaged (%s): it is made anew\n",
                     printable(base_name(request.model)).c_str(), printable(found.error().message()).c_str());
    }
    Result<MappedFile> added = cache.add(request, kept);
    const bool disk_failed = !added.ok() && (added.error().code() == ErrorCode::kDevice ||
                                             added.error().code() == ErrorCode::kNotFound);
    return disk_failed ? import_into_memory(request) : std::move(added);
}

}  // namespace

Result<MappedFile> open_model(const std::string& path, const std::string& tokenizer, bool show_progress,
                              const ModelCache& cache) {
    if (TRY(is_wllm(path))) {
        if (!tokenizer.empty()) {
            return invalid("{} carries its own tokenizer; leave -z out, it is for model files without one",
                           base_name(path));
        }
        return MappedFile::open(path);
    }
    ImportRequest request;
    request.model = path;
    request.tokenizer = tokenizer;
    int shown = -1;
    if (show_progress) {
        request.progress = [&](uint64_t done, uint64_t total) {
            const int percent = static_cast<int>(done * 100 / total);
            if (percent == shown) return;
            shown = percent;
            std::fprintf(stderr, "\rbareflow: importing %s, %d%% ", base_name(path).c_str(), percent);
        };
    }
    Result<MappedFile> imported = import(request, cache);
    if (shown >= 0) std::fprintf(stderr, "\r\x1b[K");
    return imported;
}

}  // namespace bareflow
