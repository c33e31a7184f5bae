#include "tests/bench/huge_image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "model/llama_shapes.h"
#include "model/tools/files.h"
#include "model/tools/import.h"
#include "model/tools/known_shapes.h"
#include "tests/bench/emitted.h"

namespace bareflow::bench {
namespace {

uint64_t bytes_of(const ModelConfig& config, ElementType type) {
    const TensorTypes types{.all = type, .overrides = {}};
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < tensor_count(config); ++i) {
        const TensorName name = nth_tensor(config, i);
        const TensorShape shape = shape_of(config, name.kind);
        bytes += uint64_t{shape.rows} * row_bytes(types.stored(name, shape.columns), shape.columns);
    }
    return bytes;
}

/// Whether there is room for weights and what runs beside them.
bool fits_in_memory(const std::string& name, uint64_t bytes) {
    constexpr uint64_t kBeside = uint64_t{1} << 30;
    const uint64_t needed = bytes + bytes / 8 + kBeside, there = available_bytes();
    if (needed <= there) return true;
    std::printf(" %s: skipped, needs %llu MiB of memory, %llu are free\n", name.c_str(),
                0ULL + (needed >> 20), 0ULL + (there >> 20));
    return false;
}

}  // namespace

std::vector<ModelChoice> choices_of(const std::string& text) {
    if (std::filesystem::exists(text)) return {{base_name(text), text, {}, {}}};
    const size_t colon = text.find(':');
    const std::string shape = text.substr(0, colon);
    static_cast<void>(must(shape_named(shape)));
    std::vector<ModelChoice> choices;
    for (const ElementType type : kElementTypes) {
        const std::string type_name(name_of(type));
        if (colon == std::string::npos || text.substr(colon + 1) == type_name)
            choices.push_back({shape + " " + type_name, {}, shape, type});
    }
    if (choices.empty()) static_cast<void>(must(parse_type(text.substr(colon + 1))));
    return choices;
}

HugeImage::HugeImage(int fd, uint64_t size, bool gives_way)
    : floats_((size + sizeof(float) - 1) / sizeof(float)), size_(size) {
    constexpr uint64_t kAtATime = uint64_t{64} << 20;
    auto* to = reinterpret_cast<uint8_t*>(floats_.get());
    for (uint64_t at = 0; at < size;) {
        const ssize_t count = pread(fd, to + at, std::min(kAtATime, size - at), static_cast<off_t>(at));
        if (count <= 0) give_up("a model's file became unreadable while it was read");
        // So that no model is in memory twice.
        if (gives_way)
            fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(at), count);
        at += static_cast<uint64_t>(count);
    }
}

std::optional<HugeImage> HugeImage::make(const ModelChoice& choice) {
    if (!choice.file.empty() && must(is_wllm(choice.file))) {
        const uint64_t size = std::filesystem::file_size(choice.file);
        if (!fits_in_memory(choice.name, size)) return std::nullopt;
        const Descriptor fd(open(choice.file.c_str(), O_RDONLY | O_CLOEXEC));
        if (fd.get() < 0) give_up(choice.file + " cannot be opened");
        return HugeImage(fd.get(), size, false);
    }
    ImportRequest request;
    request.model = choice.file;
    request.synthetic = choice.shape;
    request.types.all = choice.type;
    const uint64_t size = choice.file.empty() ? bytes_of(must(shape_named(choice.shape)), choice.type)
                                              : std::filesystem::file_size(choice.file);
    if (!fits_in_memory(choice.name, size)) return std::nullopt;
    const bool watched = isatty(STDERR_FILENO) != 0;
    if (watched) std::fprintf(stderr, "making %s ...\r", choice.name.c_str());
    const Descriptor memory(memfd_create("bareflow-bench", MFD_CLOEXEC));
    const ImportSummary summary = must(import_model(request, memory.get()));
    if (watched) std::fprintf(stderr, "\x1b[K");
    return HugeImage(memory.get(), summary.file_size, true);
}

}  // namespace bareflow::bench
