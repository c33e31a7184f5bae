// make-snapshot MODEL.wllm OUT [name=value...]: runs the model once on this host, as a machine without AVX-512 and VNNI would
// (QEMU's TCG has none), and leaves what a boot leaves on its disk: a slot of a snapshot. For tests of native images.
#include <cstdio>
#include <fstream>
#include <string>

#include "arch/boot_main.h"
#include "arch/host/host_platform.h"
#include "model/tools/files.h"
#include "tests/unit/persist/memory_file.h"

namespace bareflow {
namespace {

/// The host, but for processor, disk and terminal.
class TrainingPlatform final : public Platform {
 public:
    explicit TrainingPlatform(HostPlatform& host) : host_(host), features_(host.cpu()) {
        features_.avx512f = features_.avx512bw = features_.avx512dq = features_.avx512vl = false;
        features_.avx512_vnni = features_.avx512_bf16 = features_.avx_vnni = false;
    }
    std::string_view name() const override { return host_.name(); }
    Terminal& terminal() override { return host_.terminal(); }
    LogSink& log() override { return host_.log(); }
    Clock& clock() override { return host_.clock(); }
    Allocator& allocator() override { return host_.allocator(); }
    const CpuFeatures& cpu() const override { return features_; }
    std::string_view cpu_name() const override { return host_.cpu_name(); }
    MemoryUse memory_use() override { return host_.memory_use(); }
    Result<std::span<uint8_t>> code_region(size_t bytes) override { return host_.code_region(bytes); }
    CodePages& code_pages() override { return host_.code_pages(); }
    FaultGuard& fault_guard() override { return host_.fault_guard(); }
    Cores start_cores(unsigned wanted) override { return host_.start_cores(wanted); }
    void set_code_directory(const CodeDirectory*) override {}
    uint64_t entropy() override { return host_.entropy(); }
    FixedFile* snapshot_slot(unsigned index) override { return &slots_[index]; }
    ByteSpan build_id() const override { return host_.build_id(); }
    uint64_t unix_seconds() override { return host_.unix_seconds(); }

    ByteSpan first_slot() const { return slots_[0].bytes; }

 private:
    static constexpr size_t kSlotBytes = 512 * 1024;
    HostPlatform& host_;
    CpuFeatures features_;
    testing::DiskRecord record_;
    testing::MemoryFile slots_[2] = {{record_, kSlotBytes}, {record_, kSlotBytes}};
};

Result<void> run(std::span<char*> words) {
    Options options;
    options.threads = 1;
    options.sampling.temperature = 0;
    options.max_tokens = 20;
    TRY(options.set("prompt", "Once upon a time"));
    for (char* const word : words.subspan(3)) {
        const std::string_view text(word);
        const size_t equals = text.find('=');
        TRY(options.set(text.substr(0, equals), text.substr(equals + 1)));
    }
    const MappedFile model = TRY(MappedFile::open(words[1]));
    const ModelImage image{"file", "model", model.bytes()};
    HostPlatform host(0);
    TrainingPlatform platform(host);
    TRY(boot_main(platform, options, {&image, 1}));
    std::ofstream out(words[2], std::ios::binary);
    const ByteSpan slot = platform.first_slot();
    out.write(reinterpret_cast<const char*>(slot.data()), static_cast<std::streamsize>(slot.size()));
    return out.flush() ? Result<void>() : invalid("{} cannot be written", words[2]);
}

}  // namespace
}  // namespace bareflow

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fputs("usage: make-snapshot MODEL.wllm OUT [name=value...]\n", stderr);
        return 2;
    }
    const auto done = bareflow::run({argv, static_cast<size_t>(argc)});
    if (done.ok()) return 0;
    std::fprintf(stderr, "make-snapshot: %.*s\n", static_cast<int>(done.error().message().size()),
                 done.error().message().data());
    return 1;
}
