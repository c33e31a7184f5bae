// build/host/bareflow: the same program as the kernel, as a Linux process.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <optional>

#include "arch/boot_disk.h"
#include "arch/boot_main.h"
#include "arch/host/command_line.h"
#include "arch/host/direct_file.h"
#include "arch/host/file_block_device.h"
#include "arch/host/host_platform.h"
#include "arch/host/watchdog.h"
#include "arch/routine_engine.h"
#include "model/tools/files.h"
#include "model/tools/open_model.h"
#include "model/tools/perplexity.h"

extern "C" const uint8_t bareflow_embedded_model[], bareflow_embedded_model_end[];

namespace bareflow {
namespace {

ByteSpan embedded_model() { return {bareflow_embedded_model, bareflow_embedded_model_end}; }

/// --perplexity: loads the model, and tells on standard output how well it foresees the file.
Result<void> tell_perplexity(Platform& platform, const Options& options, const std::string& file,
                             const ModelImage& image) {
    const MappedFile text = TRY(MappedFile::open(file));
    const std::string_view words(reinterpret_cast<const char*>(text.bytes().data()), text.bytes().size());
    RoutineEngine engine;
    Operators* operators = TRY(engine.start(platform, options));
    Allocator& allocator = platform.allocator();
    const Weights weights = TRY(load_weights(image.image, allocator));
    const Tokenizer tokenizer = TRY(Tokenizer::make(weights.tokenizer, allocator));
    Transformer transformer =
        TRY(Transformer::model_init(weights, *operators, allocator, options.context, options.cache_type));
    const bool watched = isatty(STDERR_FILENO) != 0;
    const auto progress = [&](const Perplexity& so_far, uint64_t total) {
        constexpr uint64_t kEvery = 64;
        if (watched && so_far.tokens % kEvery == 0)
            std::fprintf(stderr, "\r%llu of %llu tokens, perplexity %.4f ", 0ULL + so_far.tokens,
                         0ULL + total, so_far.value());
    };
    const Perplexity found = TRY(measure_perplexity(transformer, tokenizer, words, progress));
    if (watched) std::fputs("\r\033[K", stderr);
    platform.terminal().write(
        FixedString<120>::formatted("perplexity {:.4} tokens {}\n", found.value(), found.tokens));
    return {};
}

Result<void> work(const HostCommandLine& command_line, HostPlatform& platform, const ModelImage& image) {
    if (!command_line.perplexity.empty())
        return tell_perplexity(platform, command_line.options, command_line.perplexity, image);
    return boot_main(platform, command_line.options, {&image, 1});
}

/// --disk: as the kernel has its disks.
class HostDisk final : public HostPlatform::Slots {
 public:
    HostDisk(FileBlockDevice device, HostPlatform& platform)
        : device_(std::move(device)), volume_(platform.allocator(), platform.log()) {
        BlockDevice* const disks[] = {&device_};
        volume_.find(disks, platform.unix_seconds());
        platform.keep_snapshots_on(*this);
        if (volume_.found()) platform.keep_files_in(volume_);
    }
    FixedFile* slot(unsigned index) override { return volume_.snapshot_slot(index); }
    bool found() const { return volume_.found(); }
    /// The volume's model; empty if it has none.
    Result<ByteSpan> read_model(Allocator& allocator) {
        const std::optional<FileInfo> file = volume_.file(BootDisk::kModel);
        if (!file) return ByteSpan();
        model_ = TRY(Buffer<uint8_t>::make(allocator, file->size, "the disk's model"));
        TRY(volume_.read(*file, model_.span()));
        return ByteSpan(model_.span());
    }

 private:
    FileBlockDevice device_;
    BootDisk volume_;
    Buffer<uint8_t> model_;
};

/// An allocation that Linux grants is no promise that there is memory: what /proc/meminfo says is available (proc(5)).
uint64_t half_of_free_memory() {
    std::ifstream info("/proc/meminfo");
    for (std::string line; std::getline(info, line);) {
        constexpr std::string_view kField = "MemAvailable:";
        if (line.starts_with(kField)) return std::stoull(line.substr(kField.size())) * 1024 / 2;
    }
    return 0;
}

Result<void> run(const HostCommandLine& command_line, HostPlatform& platform) {
    const Options& options = command_line.options;
    if (!command_line.log.empty()) TRY(platform.open_log(command_line.log));
    std::optional<HostDisk> disk;
    if (!command_line.disk.empty()) {
        disk.emplace(TRY(FileBlockDevice::open(command_line.disk, FileBlockDevice::Access::kReadWrite)),
                     platform);
        if (!disk->found()) {
            return Error::make(
                ErrorCode::kNotFound,
                "--disk {}: no FAT16 volume that is empty, labelled BAREFLOW, or has a {} or {}; make one "
                "with mkfs.fat -F 16 -n BAREFLOW",
                command_line.disk, BootDisk::kModel, BootDisk::kConfig);
        }
    }
    if (options.model.empty()) {
        if (!options.tokenizer.empty())
            return invalid("-z is the tokenizer of a model file; give that with -m");
        if (options.stream == StreamChoice::kOn)
            return invalid("--stream reads a .wllm while it runs; give that with -m");
        ByteSpan on_disk;
        if (disk) {
            // As in the kernel: a disk that fails is told, and the embedded model answers.
            Result<ByteSpan> read = disk->read_model(platform.allocator());
            if (read) on_disk = read.take();
            if (!read) {
                LogRecord(platform.log(), "model_refused")
                    .field("source", "disk")
                    .field("reason", read.error().message());
            }
        }
        if (!on_disk.empty()) return work(command_line, platform, {"disk", BootDisk::kModel, on_disk});
        const ModelImage embedded{"embedded", "bareflow-stories", embedded_model()};
        return work(command_line, platform, embedded);
    }
    const std::string path(options.model);
    if (options.stream == StreamChoice::kOn) {
        if (!command_line.perplexity.empty())
            return invalid("--perplexity reads a model in memory; leave out --stream");
        const std::unique_ptr<DirectFile> streamed = TRY(DirectFile::open(path));
        const std::string name = base_name(path);
        const uint64_t ring =
            options.ring_mib == 0 ? half_of_free_memory() : uint64_t{options.ring_mib} << 20;
        return work(command_line, platform, {"stream", name, {}, streamed.get(), ring});
    }
    const MappedFile file = TRY(open_model(path, std::string(options.tokenizer), isatty(STDERR_FILENO)));
    const std::string name = base_name(path);
    const ModelImage given{"file", name, file.bytes()};
    return work(command_line, platform, given);
}

}  // namespace
}  // namespace bareflow

int main(int argc, char** argv) {
    using namespace bareflow;
    constexpr int kGoOn = -1;
    HostCommandLine command_line;
    if (int status = parse_host_command_line(command_line, argc, argv); status != kGoOn) return status;
    start_watchdog(command_line.timeout_s);

    HostPlatform platform(embedded_model().size());
    Result<void> done = run(command_line, platform);
    if (done.ok()) done = platform.check_output();
    if (done.ok()) return 0;
    // It may quote names out of somebody's file.
    const std::string message = printable(done.error().message());
    std::fprintf(stderr, "bareflow: %s\n", message.c_str());
    return 1;
}
