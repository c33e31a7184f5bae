// The kernel's main: from the boot loader's registers to the first prompt.
#include "arch/base/crc32c.h"
#include "arch/base/options.h"
#include "arch/boot_disk.h"
#include "arch/boot_main.h"
#include "arch/platform.h"
#include "arch/stages/stage.h"
#include "arch/x86_64/acpi.h"
#include "arch/x86_64/clock.h"
#include "arch/x86_64/code_memory.h"
#include "arch/x86_64/console.h"
#include "arch/x86_64/cores.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/disks.h"
#include "arch/x86_64/display.h"
#include "arch/x86_64/exit.h"
#include "arch/x86_64/fault.h"
#include "arch/x86_64/fw_cfg.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/interrupts.h"
#include "arch/x86_64/local_apic.h"
#include "arch/x86_64/memory.h"
#include "arch/x86_64/multiboot2.h"
#include "arch/x86_64/processor.h"
#include "arch/x86_64/rtc.h"
#include "arch/x86_64/selftest.h"
#include "arch/x86_64/serial.h"

// Not in .bss, which is zeroed after the stub wrote this.
[[gnu::section(".data.loaded_model")]] bareflow::LoadedModel bareflow_loaded_model{};

namespace bareflow {
namespace {

constexpr size_t kMaxCommandLine = 32 * 1024;
constexpr std::string_view kFwCfgCommandLine = "opt/bareflow/cmdline", kFwCfgModel = "opt/bareflow/model";
constexpr std::string_view kModelModule = "model", kConfigModule = "bareflow.cfg";

constinit SerialLog serial_log;
constinit TscClock tsc_clock;
constinit ConsoleTerminal terminal;
constinit Options options;
constinit CpuFeatures features;
/// Options keep views into these.
constinit char grub_command_line[kMaxCommandLine];
constinit char fw_cfg_command_line[kMaxCommandLine];

uint64_t bytes_between(const uint8_t* start, const uint8_t* end) {
    return static_cast<uint64_t>(end - start);
}

/// 0: the clock does not know.
uint64_t seconds_since_1970() {
    const Result<uint64_t> now = read_rtc(cmos_ports(), rtc_century_register(acpi_table("FACP")));
    return now.ok() ? now.value() : 0;
}

class Kernel final : public Platform {
 public:
    Kernel(const BootInformation& boot, BootDisk& disk)
        : boot_(boot), disk_(disk), cpu_name_(cpu_brand(RunningCpu())) {}
    std::string_view name() const override { return "kernel"; }
    Terminal& terminal() override { return ::bareflow::terminal; }
    LogSink& log() override { return serial_log; }
    Clock& clock() override { return tsc_clock; }
    Allocator& allocator() override { return heap(); }
    const CpuFeatures& cpu() const override { return features; }
    std::string_view cpu_name() const override { return cpu_name_; }
    MemoryUse memory_use() override {
        const HeapStats stats = heap().stats();
        return {.total = boot_.ram_bytes,
                .heap_in_use = stats.in_use,
                .heap_peak = stats.peak,
                .heap_reserved = stats.reserved,
                .image = bytes_between(__image_start, __image_end) -
                         bytes_between(bareflow_embedded_model, bareflow_embedded_model_end)};
    }
    Result<std::span<uint8_t>> code_region(size_t bytes) override { return take_code_region(bytes); }
    CodePages& code_pages() override { return kernel_code_pages(); }
    FaultGuard& fault_guard() override { return kernel_fault_guard(); }
    Cores start_cores(unsigned wanted) override { return start_other_cores(wanted, tsc_clock, serial_log); }
    void set_code_directory(const CodeDirectory* directory) override { report_code_from(directory); }
    uint64_t entropy() override {
        constexpr int kCpuidRdrandBit = 30;
        uint64_t value = 0;
        const bool has_rdrand = cpu::cpuid(1, 0).ecx >> kCpuidRdrandBit & 1;
        return has_rdrand && cpu::read_random(value) ? value : cpu::read_tsc();
    }
    ByteSpan build_id() const override { return bareflow_build_id; }
    FixedFile* snapshot_slot(unsigned index) override { return image_snapshot_slot(disk_, index); }
    FileStore* files() override { return disk_.found() ? &disk_ : nullptr; }
    uint64_t unix_seconds() override { return seconds_since_1970(); }
    Result<bool> turn_over(Stage next, const SnapshotView& learned) override {
        return image_turn_over(disk_, next, learned);
    }
    void report_native(bool good) override {
        if (Result<void> reported = disk_.report_native(good); !reported)
            LogRecord(serial_log, "volume_error").field("reason", reported.error().message());
    }
    Stage stage() const override { return image_stage(); }
    ByteSpan native_segment() const override {
        return {__native_start, bytes_between(__native_start, __native_end)};
    }

 private:
    const BootInformation& boot_;
    BootDisk& disk_;
    FixedString<48> cpu_name_;
};

/// Says why the machine stops, where somebody will see it: on the log, and on the console unless a launcher reads it.
[[noreturn]] void fail(const Error& error) {
    for (const std::string_view part :
         {std::string_view("bareflow: "), error.message(), std::string_view("\r\n")}) {
        screen().write(part);
        if (!fw_cfg_present()) console_port().write(part);
    }
    exit_machine(ExitStatus::kFailure, error.message());
}

template <typename T>
T or_fail(Result<T> result) {
    if (!result) fail(result.error());
    return result.take();
}

/// The disk's bareflow.cfg, whose bytes the options keep views of.
Result<void> read_disk_options(BootDisk& disk) {
    constexpr uint32_t kMaxConfig = 64 * 1024;
    const std::optional<FileInfo> file = disk.file(BootDisk::kConfig);
    if (!file) return {};
    if (file->size > kMaxConfig) {
        return invalid("bareflow.cfg on the disk has {} bytes; at most {} are read", file->size, kMaxConfig);
    }
    static constinit uint8_t config[kMaxConfig];
    if (Result<void> read = disk.read(*file, {config, file->size}); !read) {
        // A disk that fails is no reason to stop; a wrong option is.
        LogRecord(serial_log, "volume_error")
            .field("file", BootDisk::kConfig)
            .field("reason", read.error().message());
        return {};
    }
    return options.parse_config({reinterpret_cast<const char*>(config), file->size});
}

/// Reads the options, weakest first: bareflow.cfg beside the kernel, the disk's, GRUB's command line, QEMU's fw_cfg.
Result<void> read_options(const BootInformation& boot, BootDisk& disk) {
    const ByteSpan config = boot.module(kConfigModule);
    TRY(options.parse_config({reinterpret_cast<const char*>(config.data()), config.size()}));
    TRY(read_disk_options(disk));

    if (boot.command_line.size() > kMaxCommandLine) {
        return invalid("GRUB's command line has {} bytes; at most {} are read", boot.command_line.size(),
                       kMaxCommandLine);
    }
    __builtin_memcpy(grub_command_line, boot.command_line.data(), boot.command_line.size());
    TRY(options.parse_command_line({grub_command_line, boot.command_line.size()}));

    const std::optional<FwCfgFile> file = fw_cfg_find(kFwCfgCommandLine);
    if (!file) return {};
    if (file->size > kMaxCommandLine) {
        return invalid("fw_cfg {} has {} bytes; at most {} are read", kFwCfgCommandLine, file->size,
                       kMaxCommandLine);
    }
    const size_t size =
        fw_cfg_read(*file, {reinterpret_cast<uint8_t*>(fw_cfg_command_line), kMaxCommandLine});
    return options.parse_command_line({fw_cfg_command_line, size});
}

/// Where the options say so: the next boot is of that stage, whatever this one is.
void stay_at_stage(BootDisk& disk) {
    if (options.stage.empty() || options.stage == "auto") return;
    const Result<bool> stays = disk.stay_at(options.stage);
    LogRecord record(serial_log, "stage_stays");
    record.field("at", options.stage).field("done", stays.ok() && stays.value());
    if (!stays.ok()) record.field("reason", stays.error().message());
}

void log_machine(Kernel& kernel, const BootInformation& boot) {
    LogRecord(serial_log, "cpu")
        .field("name", kernel.cpu_name())
        .field("features", describe(features).view());
    LogRecord(serial_log, "memory")
        .field("ram", boot.ram_bytes)
        .field("free", frames().free_bytes())
        .field("largest_free", frames().largest_free_run())
        .field("image", kernel.memory_use().image);
    LogRecord(serial_log, "clock")
        .field("tsc_hz", tsc_clock.frequency_hz())
        .field("source", tsc_clock.source());
}

/// The models to try, the preferred one first.
struct Candidates {
    ModelImage sources[4];
    size_t count = 0;
};

/// Frames of its own for a model, in pages of 2 MiB.
Result<std::span<uint8_t>> room_for_model(uint64_t bytes) {
    constexpr uint64_t kAlignment = uint64_t{2} << 20;
    Result<PhysicalAddress> room = frames().allocate((bytes + kFrameSize - 1) / kFrameSize, kAlignment);
    if (!room) {
        return Error::make(ErrorCode::kOutOfMemory, "its {} MiB do not fit: the largest free piece is {} MiB",
                           bytes >> 20, frames().largest_free_run() >> 20);
    }
    return std::span(reinterpret_cast<uint8_t*>(room.value()), bytes);
}
/// From now on nobody writes to it.
Result<ByteSpan> sealed(std::span<uint8_t> model) {
    const uint64_t bytes = (model.size() + kFrameSize - 1) / kFrameSize * kFrameSize;
    TRY(address_space().protect(reinterpret_cast<uintptr_t>(model.data()), bytes, kReadOnly));
    return ByteSpan(model);
}

/// The launcher's model; empty if there is none.
Result<ByteSpan> read_fw_cfg_model() {
    const std::optional<FwCfgFile> file = fw_cfg_find(kFwCfgModel);
    if (!file) return ByteSpan();
    const std::span<uint8_t> room = TRY(room_for_model(file->size));
    fw_cfg_read(*file, room);
    return sealed(room);
}

/// Tells somebody who waits at the terminal how far a model is read.
class ReadingShown final : public ReadProgress {
 public:
    explicit ReadingShown(std::string_view name) : name_(name) {}
    void advanced(uint64_t done, uint64_t total) override {
        if (!terminal.interactive() || total < kWorthTelling) return;
        terminal.write(FixedString<96>::formatted("\r\033[Kreading {}: {}%", name_, done * 100 / total));
        if (done == total) terminal.write("\r\033[K");
    }

 private:
    static constexpr uint64_t kWorthTelling = 32 << 20;
    std::string_view name_;
};

/// The disk's model; empty if there is no such file.
Result<ByteSpan> read_disk_model(BootDisk& disk, std::string_view name, const std::optional<FileInfo>& file) {
    if (!file) return ByteSpan();
    const std::span<uint8_t> room = TRY(room_for_model(file->size));
    ReadingShown progress(name);
    const uint64_t began = tsc_clock.now_ns();
    TRY(disk.read(*file, room, &progress));
    LogRecord(serial_log, "model_read")
        .field("name", name)
        .field("bytes", file->size)
        .field("ms", static_cast<double>(tsc_clock.now_ns() - began) / 1e6);
    return sealed(room);
}

void refuse(std::string_view source, std::string_view reason) {
    LogRecord(serial_log, "model_refused").field("source", source).field("reason", reason);
}

uint64_t ring_bytes() { return uint64_t{options.ring_mib} << 20; }

/// Whether the file's weights are to be streamed: asked for, or because there is no room for all of them, and for what a model
/// needs beside them.
bool is_to_be_streamed(const FileInfo& file) {
    constexpr uint64_t kMiB = 1 << 20, kMostBeside = 128 * kMiB, kLeastBeside = 32 * kMiB,
                       kAlignment = 2 * kMiB;
    if (options.stream != StreamChoice::kAuto) return options.stream == StreamChoice::kOn;
    const uint64_t bytes = file.size, beside = bytes / 2 + kLeastBeside;
    return bytes + kAlignment > frames().largest_free_run() ||
           bytes + (beside < kMostBeside ? beside : kMostBeside) > frames().free_bytes();
}

/// Whether the options let a model come from there, and whether they ask for it.
bool may_come_from(std::string_view source) { return options.weights.empty() || options.weights == source; }

/// Adds the model, if there is one and it may come from there; else says why not.
void add(Candidates& found, std::string_view source, std::string_view name, Result<ByteSpan> model,
         std::string_view absent) {
    if (!model) {
        refuse(source, model.error().message());
    } else if (!model.value().empty()) {
        found.sources[found.count++] = {source, name, model.value()};
    } else if (options.weights == source) {
        refuse(source, absent);
    }
}

Candidates find_models(const BootInformation& boot, BootDisk& disk) {
    Candidates found;
    if (may_come_from("fw_cfg")) {
        add(found, "fw_cfg", kFwCfgModel, read_fw_cfg_model(),
            "QEMU has no file opt/bareflow/model; start it with iso/boot.sh -m FILE");
    }
    if (may_come_from("module")) {
        add(found, "module", kModelModule, boot.module(kModelModule),
            "GRUB loaded no module named model; add `module2 FILE model` to grub.cfg");
    }
    // A disk is slow: what nobody would look at is not read.
    if (may_come_from("disk") && found.count == 0) {
        const std::string_view name = options.model.empty() ? BootDisk::kModel : options.model;
        const std::optional<FileInfo> file = disk.file(name);
        if (file && is_to_be_streamed(*file)) {
            if (Result<AsyncFile*> streamed = disk.stream(*file); streamed.ok()) {
                found.sources[found.count++] = {"stream", name, {}, streamed.value(), ring_bytes()};
            } else {
                refuse("stream", streamed.error().message());
            }
        } else {
            add(found, "disk", name, read_disk_model(disk, name, file),
                disk.found() ? "the disk has no such file; copy one there with mcopy, or name it with -m"
                             : "no disk has a FAT16 volume that is meant for BareFlow; give one with "
                               "iso/boot.sh --disk");
        }
    }
    ByteSpan embedded(bareflow_embedded_model,
                      bytes_between(bareflow_embedded_model, bareflow_embedded_model_end));
    if (embedded.empty()) embedded = loaded_model();
    if (!embedded.empty()) found.sources[found.count++] = {"embedded", "bareflow-stories", embedded};
    return found;
}

}  // namespace

extern "C" [[noreturn]] void kernel_main(uint32_t magic, uint64_t information) {
    tsc_clock.start();
    console_port().initialise();
    log_port().initialise();
    console_port().write(kStartMark);
    initialise_interrupts();
    features = cpu_detect_features();
    const BootInformation boot = or_fail(parse_boot_information(magic, information));
    or_fail(initialise_memory(boot, features));
    initialise_acpi(boot.rsdp);
    tsc_clock.calibrate();
    if (features.sse4_2) crc32c_by_what_is_quicker(tsc_clock);
    initialise_local_apic(tsc_clock);
    initialise_screen(boot.framebuffer, heap(), tsc_clock, serial_log);
    initialise_keyboard(serial_log);

    initialise_disks(tsc_clock, serial_log);
    BootDisk disk(heap(), serial_log);
    if (!disks().empty()) disk.find(disks(), seconds_since_1970());
    or_fail(read_options(boot, disk));
    set_exit_method(options.exit);
    set_keyboard_layout(options.keyboard);
    stay_at_stage(disk);
    terminal.set_interactive(!options.has_prompt);
    Kernel kernel(boot, disk);
    log_machine(kernel, boot);
    if (!options.test.empty()) or_fail(run_selftest(options.test, kernel));
    if (options.test.empty()) {
        const Candidates models = find_models(boot, disk);
        or_fail(boot_main(kernel, options, {models.sources, models.count}));
    }
    exit_machine(ExitStatus::kSuccess, {});
}

}  // namespace bareflow
