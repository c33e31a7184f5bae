#include "model/tools/open_model.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <cstdio>

#include "model/tools/import.h"

namespace bareflow {

Result<MappedFile> open_model(const std::string& path, const std::string& tokenizer, bool show_progress) {
    if (TRY(is_wllm(path))) {
        if (!tokenizer.empty()) {
            return invalid("{} carries its own tokenizer; leave -z out, it is for model files without one",
                           base_name(path));
        }
        return MappedFile::open(path);
    }
    const Descriptor memory(memfd_create("bareflow-model", MFD_CLOEXEC));
    if (memory.get() < 0) {
        return Error::make(ErrorCode::kOutOfMemory, "no memory to import {} into: {}", base_name(path),
                           strerror(errno));
    }
    if (show_progress) std::fprintf(stderr, "bareflow: importing %s ...\r", base_name(path).c_str());
    ImportRequest request;
    request.model = path;
    request.tokenizer = tokenizer;
    int last_percent = -1;
    const auto say_percent = [&](uint64_t done, uint64_t total) {
        const int percent = static_cast<int>(done * 100 / total);
        if (percent == last_percent) return;
        last_percent = percent;
        std::fprintf(stderr, "bareflow: importing %s, %d%% \r", base_name(path).c_str(), percent);
    };
    if (show_progress) request.progress = say_percent;
    Result<ImportSummary> imported = import_model(request, memory.get());
    if (show_progress) std::fprintf(stderr, "\x1b[K");
    if (!imported.ok()) return imported.error();
    return MappedFile::map(memory.get(), base_name(path));
}

}  // namespace bareflow
