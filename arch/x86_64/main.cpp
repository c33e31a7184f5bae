// The kernel's main: from the boot loader's registers to the first prompt.
#include "arch/base/options.h"
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
#include "arch/x86_64/exit.h"
#include "arch/x86_64/fault.h"
#include "arch/x86_64/fw_cfg.h"
#include "arch/x86_64/image.h"
#include "arch/x86_64/interrupts.h"
#include "arch/x86_64/local_apic.h"
#include "arch/x86_64/memory.h"
#include "arch/x86_64/multiboot2.h"
#include "arch/x86_64/processor.h"
#include "arch/x86_64/selftest.h"
#include "arch/x86_64/serial.h"

namespace bareflow {
namespace {

constexpr size_t kMaxCommandLine = 32 * 1024;
constexpr std::string_view kFwCfgCommandLine = "opt/bareflow/cmdline", kFwCfgModel = "opt/bareflow/model";
constexpr std::string_view kModelModule = "model", kConfigModule = "bareflow.cfg";

constinit SerialLog serial_log;
constinit TscClock tsc_clock;
constinit SerialTerminal terminal;
constinit Options options;
constinit CpuFeatures features;
/// Options keep views into these.
constinit char grub_command_line[kMaxCommandLine];
constinit char fw_cfg_command_line[kMaxCommandLine];

uint64_t bytes_between(const uint8_t* start, const uint8_t* end) {
    return static_cast<uint64_t>(end - start);
}

class Kernel final : public Platform {
 public:
    explicit Kernel(const BootInformation& boot) : boot_(boot), cpu_name_(cpu_brand(RunningCpu())) {}
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
    Stage stage() const override { return image_stage(); }
    ByteSpan native_segment() const override {
        return {__native_start, bytes_between(__native_start, __native_end)};
    }

 private:
    const BootInformation& boot_;
    FixedString<48> cpu_name_;
};

/// Says why the machine stops, where somebody will see it: on the log, and on the console unless a launcher reads it.
[[noreturn]] void fail(const Error& error) {
    if (!fw_cfg_present()) {
        console_port().write("bareflow: ");
        console_port().write(error.message);
        console_port().write("\r\n");
    }
    exit_machine(ExitStatus::kFailure, error.message);
}

template <typename T>
T or_fail(Result<T> result) {
    if (!result) fail(result.error());
    return result.take();
}

/// Reads the options, weakest first: bareflow.cfg beside the kernel, GRUB's command line, QEMU's fw_cfg.
Result<void> read_options(const BootInformation& boot) {
    const ByteSpan config = boot.module(kConfigModule);
    TRY(options.parse_config({reinterpret_cast<const char*>(config.data()), config.size()}));

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
    ModelImage sources[3];
    size_t count = 0;
};

/// The launcher's model, read into frames of its own in pages of 2 MiB; empty if there is none.
Result<ByteSpan> read_fw_cfg_model() {
    const std::optional<FwCfgFile> file = fw_cfg_find(kFwCfgModel);
    if (!file) return ByteSpan();
    constexpr uint64_t kAlignment = uint64_t{2} << 20;
    const size_t frame_count = (file->size + kFrameSize - 1) / kFrameSize;
    Result<PhysicalAddress> room = frames().allocate(frame_count, kAlignment);
    if (!room) {
        return Error::make(ErrorCode::kOutOfMemory, "its {} MiB do not fit: the largest free piece is {} MiB",
                           file->size >> 20, frames().largest_free_run() >> 20);
    }
    auto* const bytes = reinterpret_cast<uint8_t*>(room.value());
    fw_cfg_read(*file, {bytes, file->size});
    TRY(address_space().protect(room.value(), frame_count * kFrameSize, kReadOnly));
    return ByteSpan(bytes, file->size);
}
void refuse(std::string_view source, std::string_view reason) {
    LogRecord(serial_log, "model_refused").field("source", source).field("reason", reason);
}

Candidates find_models(const BootInformation& boot) {
    Candidates found;
    if (options.weights.empty() || options.weights == "fw_cfg") {
        Result<ByteSpan> model = read_fw_cfg_model();
        if (!model) {
            refuse("fw_cfg", model.error().message);
        } else if (!model.value().empty()) {
            found.sources[found.count++] = {"fw_cfg", kFwCfgModel, model.value()};
        } else if (options.weights == "fw_cfg") {
            refuse("fw_cfg", "QEMU has no file opt/bareflow/model; start it with iso/boot.sh -m FILE");
        }
    }
    const ByteSpan module = boot.module(kModelModule);
    if (!module.empty() && (options.weights.empty() || options.weights == "module")) {
        found.sources[found.count++] = {"module", kModelModule, module};
    } else if (options.weights == "module") {
        refuse("module", "GRUB loaded no module named model; add `module2 FILE model` to grub.cfg");
    }
    const ByteSpan embedded(bareflow_embedded_model,
                            bytes_between(bareflow_embedded_model, bareflow_embedded_model_end));
    if (!embedded.empty()) found.sources[found.count++] = {"embedded", "embedded", embedded};
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
    initialise_local_apic(tsc_clock);

    or_fail(read_options(boot));
    set_exit_method(options.exit);
    terminal.set_interactive(!options.has_prompt);
    Kernel kernel(boot);
    log_machine(kernel, boot);
    initialise_disks(tsc_clock, serial_log);
    if (!options.test.empty()) or_fail(run_selftest(options.test, kernel));
    if (options.test.empty()) {
        const Candidates models = find_models(boot);
        or_fail(boot_main(kernel, options, {models.sources, models.count}));
    }
    exit_machine(ExitStatus::kSuccess, {});
}

}  // namespace bareflow
