#include "persist/tools/native.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include <CLI/CLI.hpp>

#include "arch/base/version.h"
#include "arch/snapshot_summary.h"
#include "model/tools/import.h"
#include "model/tools/open_model.h"
#include "model/tools/std_allocator.h"
#include "model/weights.h"
#include "persist/tools/disk_image.h"
#include "persist/tools/native_output.h"

namespace bareflow {
namespace {

namespace fs = std::filesystem;

constexpr int kOk = 0, kFailed = 1, kUsage = 2;

std::string hex(ByteSpan bytes) {
    std::string text;
    for (const uint8_t byte : bytes) text += FixedString<2>::formatted("{:02x}", byte).view();
    return text;
}

Error is_of_another_model(const SnapshotFile& snapshot, const ModelIdentity& model) {
    const snapshot::Header& from = snapshot.header();
    return invalid(
        "{} is not of this model: it was made with {:08x} of {} bytes, and the model is {:08x} of {} bytes. "
        "Its "
        "routines fit no other: boot with this model first, or give the one it was made with",
        snapshot.path(), from.model_crc32c, from.model_bytes, model.crc32c, model.bytes);
}

/// Every routine that the image would run is one that this build's emitter makes, at any address: the snapshot's bytes were
/// made at another.
Result<void> check_routines(const SnapshotFile& file) {
    for (uint32_t i = 0; i < file.view().routines(); ++i) {
        const snapshot::StoredRoutine routine = file.view().routine(i);
        if (routine.state != snapshot::RoutineState::kInstalled) continue;
        const SnapshotRefusal refusal = file.check(routine);
        if (refusal == SnapshotRefusal::kNone) continue;
        const std::string name = is_sound(routine.key) ? std::string(name_of(routine.key).view()) : "?";
        return invalid("{}: routine {}, {}, is not in order: {}; bareflow-snap check tells more", file.path(),
                       i, name, name_of(refusal));
    }
    return {};
}

/// What a machine has yet to learn is no image's business.
Result<void> check_converged(const SnapshotFile& file) {
    std::vector<BootSummary> history;
    for (uint32_t i = 0; i < file.view().boots(); ++i) history.push_back(summary_of(file.view().boot(i)));
    if (has_converged(history)) return {};
    const auto loud = std::find_if(history.rbegin(), history.rend(),
                                   [](const BootSummary& boot) { return !boot.is_quiet(); });
    return invalid(
        "{} has not converged: {} plans are left to try, and it has {} boots without anything new of {}, "
        "whose time of a token may "
        "vary by 1%; let its machine boot on, or give --early",
        file.path(), history.empty() ? 0u : history.back().plans_left, loud - history.rbegin(),
        ConvergenceRules{}.quiet_boots);
}

}  // namespace

Result<std::vector<uint8_t>> native_kernel(ByteSpan elf, const SnapshotFile& snapshot,
                                           const ModelIdentity& model, ByteSpan build,
                                           NativeFilling& filling) {
    const snapshot::Header& from = snapshot.header();
    if (from.model_bytes != model.bytes || from.model_crc32c != model.crc32c)
        return is_of_another_model(snapshot, model);
    if (!build.empty() && hex(build) != hex(from.build_id)) {
        return invalid("{} is of build {}, and this program of {}: use those of one build", snapshot.path(),
                       hex(from.build_id), hex(build));
    }
    if (from.abi_version != kRoutineAbi)
        return invalid("{}: its routines are called as version {} says, this build calls version {}",
                       snapshot.path(), from.abi_version, kRoutineAbi);
    TRY(check_routines(snapshot));
    const FileRange place = TRY(find_native_segment(elf));
    std::vector<uint8_t> kernel(elf.begin(), elf.end());
    filling = TRY(fill_native_segment(std::span(kernel).subspan(place.offset, place.size), snapshot.view()));
    return kernel;
}

namespace {

struct Arguments {
    std::string snapshot, disk, model, tokenizer, quant, output, kernel, config;
    bool early = false, without_model = false;
};

void declare(CLI::App& app, Arguments& arguments) {
    app.set_version_flag("--version", "bareflow-native " + std::string(kVersion));
    auto* disk =
        app.add_option("--disk", arguments.disk,
                       "the machine's disk, an image or a device: its newer snapshot, and its model.wllm")
            ->option_text("IMG");
    app.add_option("--snapshot", arguments.snapshot,
                   "instead: a slot, such as SNAPA.BIN copied from the machine's disk")
        ->excludes(disk)
        ->option_text("FILE");
    app.add_option("-m,--model", arguments.model,
                   "the model it was made with: .wllm, or llama2.c .bin (default: the disk's)")
        ->option_text("MODEL");
    app.add_option("-z,--tokenizer", arguments.tokenizer, "its tokenizer, where the model file has none")
        ->option_text("FILE");
    app.add_option("--quant", arguments.quant,
                   "how the image's weights are stored; the snapshot must be of the model in that form "
                   "(default: as MODEL is)")
        ->check(CLI::IsMember({"f32", "f16", "q8_0", "q4_0"}))
        ->option_text("f32|f16|q8_0|q4_0");
    app.add_option("-o,--output", arguments.output,
                   "the image: .iso and .img (a disk) boot by themselves; .elf is kernel and model in one "
                   "file, for any "
                   "Multiboot2 loader")
        ->required()
        ->option_text("OUT.iso|OUT.img|OUT.elf");
    app.add_flag(
        "--without-model", arguments.without_model,
        "an .elf of the kernel alone, whose model comes as a module, `module2 FILE model` in grub.cfg");
    app.add_flag("--early", arguments.early, "also of a machine that may still have something to learn");
    app.add_option("--kernel", arguments.kernel, "the native kernel (default: build/bareflow-native.elf)")
        ->option_text("ELF");
    app.add_option("--config", arguments.config,
                   "a bareflow.cfg for .iso and .img: options, one key=value a line")
        ->option_text("FILE");
}

/// The model as the image has it: the disk's, or MODEL, or that converted to --quant in memory.
Result<MappedFile> model_of(const Arguments& arguments, DiskImage* disk) {
    if (arguments.model.empty() && disk != nullptr) return disk->file("model.wllm");
    if (arguments.quant.empty()) return open_model(arguments.model, arguments.tokenizer, false);
    if (TRY(is_wllm(arguments.model))) {
        return invalid(
            "--quant converts a llama2.c .bin; {} is a .wllm, which is what it is: leave --quant out",
            base_name(arguments.model));
    }
    const Descriptor memory(memfd_create("bareflow-native", MFD_CLOEXEC));
    if (memory.get() < 0)
        return Error::make(ErrorCode::kOutOfMemory, "no memory for the model: {}", strerror(errno));
    ImportRequest request;
    request.model = arguments.model;
    request.tokenizer = arguments.tokenizer;
    request.types = {.all = TRY(parse_type(arguments.quant)), .overrides = {}};
    TRY(import_model(request, memory.get()));
    return MappedFile::map(memory.get(), base_name(arguments.model));
}

Result<ModelIdentity> identity_of(ByteSpan image) {
    StdAllocator allocator;
    const Weights weights = TRY(load_weights(image, allocator));
    return ModelIdentity{weights.file_size, weights.hash};
}

Result<void> work(const Arguments& arguments, const std::string& program, ByteSpan build, std::ostream& out) {
    const fs::path build_folder =
        fs::path(program).parent_path().parent_path();  // of build/host/bareflow-native
    const std::string kernel_path =
        arguments.kernel.empty() ? (build_folder / "bareflow-native.elf").string() : arguments.kernel;
    std::optional<DiskImage> disk;
    if (!arguments.disk.empty()) disk.emplace(TRY(DiskImage::open(arguments.disk)));
    const SnapshotFile snapshot =
        TRY(disk ? disk->newest_snapshot() : SnapshotFile::open(arguments.snapshot));
    const MappedFile model = TRY(model_of(arguments, disk ? &*disk : nullptr));
    const MappedFile elf = TRY(MappedFile::open(kernel_path));
    const ModelIdentity identity = TRY(identity_of(model.bytes()));
    NativeFilling filling;
    const std::vector<uint8_t> kernel = TRY(native_kernel(elf.bytes(), snapshot, identity, build, filling));
    if (!arguments.early) TRY(check_converged(snapshot));
    const NativeOutput output{arguments.output, arguments.config, !arguments.without_model,
                              build_folder.parent_path()};
    TRY(write_native_image(output, kernel, model.bytes()));
    out << arguments.output << ": " << filling.routines << " routines, " << filling.bytes
        << " bytes of the segment; model " << model.bytes().size() << " bytes; image "
        << fs::file_size(arguments.output) << " bytes; needs "
        << describe(features_of_bits(snapshot.header().required_features)).view() << '\n';
    return {};
}

/// What CLI11 does not know of the options.
void check(const Arguments& arguments) {
    const auto ends = [&](const char* suffix) { return arguments.output.ends_with(suffix); };
    if (!ends(".iso") && !ends(".img") && !ends(".elf"))
        throw CLI::ValidationError("--output", "must end with .iso, .img or .elf");
    if (arguments.disk.empty() && arguments.snapshot.empty())
        throw CLI::RequiredError("--disk IMG or --snapshot FILE");
    if (arguments.model.empty() && arguments.disk.empty()) throw CLI::RequiredError("--model MODEL");
    if (arguments.model.empty() && !arguments.quant.empty())
        throw CLI::ValidationError("--quant", "converts what -m names; the disk's model is what it is");
    if (!arguments.config.empty() && ends(".elf"))
        throw CLI::ValidationError("--config", "goes into an .iso or .img");
    if (arguments.without_model && !ends(".elf"))
        throw CLI::ValidationError("--without-model", "is for an .elf");
}

}  // namespace

int run_native(int argc, const char* const* argv, const std::string& program, ByteSpan build,
               std::ostream& out, std::ostream& errors) {
    CLI::App app(
        "Makes a bootable image from what a BareFlow machine learned: its routines in place, no emitter.",
        "bareflow-native");
    Arguments arguments;
    declare(app, arguments);
    try {
        app.parse(argc, argv);
        check(arguments);
    } catch (const CLI::ParseError& error) {
        return app.exit(error, out, errors) == 0 ? kOk : kUsage;
    }
    const Result<void> done = work(arguments, program, build, out);
    if (done.ok()) return kOk;
    errors << "bareflow-native: " << done.error().message() << '\n';
    return kFailed;
}

}  // namespace bareflow
