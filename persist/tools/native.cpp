#include "persist/tools/native.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include <CLI/CLI.hpp>

#include "arch/base/version.h"
#include "model/tools/import.h"
#include "model/tools/open_model.h"
#include "model/tools/std_allocator.h"
#include "model/weights.h"

extern char** environ;

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
    std::string snapshot, model, tokenizer, quant, output, kernel, config;
};

void declare(CLI::App& app, Arguments& arguments) {
    app.set_version_flag("--version", "bareflow-native " + std::string(kVersion));
    app.add_option("--snapshot", arguments.snapshot,
                   "a slot, such as SNAPA.BIN copied from the machine's disk")
        ->required()
        ->option_text("FILE");
    app.add_option("-m,--model", arguments.model, "the model it was made with: .wllm, or llama2.c .bin")
        ->required()
        ->option_text("MODEL");
    app.add_option("-z,--tokenizer", arguments.tokenizer, "its tokenizer, where the model file has none")
        ->option_text("FILE");
    app.add_option("--quant", arguments.quant,
                   "how the image's weights are stored; the snapshot must be of the model in that form "
                   "(default: as MODEL is)")
        ->check(CLI::IsMember({"f32", "f16", "q8_0", "q4_0"}))
        ->option_text("f32|f16|q8_0|q4_0");
    app.add_option(
           "-o,--output", arguments.output,
           "the image: .iso boots by itself; .elf is the kernel alone, whose model comes as a module, "
           "`module2 FILE model` in grub.cfg")
        ->required()
        ->option_text("OUT.iso|OUT.elf");
    app.add_option("--kernel", arguments.kernel, "the native kernel (default: build/bareflow-native.elf)")
        ->option_text("ELF");
    app.add_option("--config", arguments.config, "a bareflow.cfg for the .iso: options, one key=value a line")
        ->option_text("FILE");
}

/// The model as the image has it: MODEL, or converted to --quant in memory.
Result<MappedFile> model_of(const Arguments& arguments) {
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

Result<void> write_file(const std::string& path, ByteSpan bytes) {
    ReplacementFile file = TRY(ReplacementFile::create(path));
    TRY(FileWriter(file.fd(), path).write_at(0, bytes));
    return file.commit();
}

/// A folder that goes away with what is in it.
class ScratchFolder {
 public:
    static Result<ScratchFolder> make() {
        std::string path = (fs::temp_directory_path() / "bareflow-native.XXXXXX").string();
        if (mkdtemp(path.data()) == nullptr)
            return Error::make(ErrorCode::kDevice, "{}: {}", path, strerror(errno));
        return ScratchFolder(path);
    }
    ScratchFolder(ScratchFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
    ScratchFolder& operator=(ScratchFolder&&) = delete;
    ~ScratchFolder() {
        std::error_code ignored;
        if (!path_.empty()) fs::remove_all(path_, ignored);
    }
    std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
    explicit ScratchFolder(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

Result<void> run_program(const std::vector<std::string>& words) {
    std::vector<char*> argv;
    for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
    argv.push_back(nullptr);
    pid_t child = 0;
    if (const int failed = posix_spawn(&child, argv[0], nullptr, nullptr, argv.data(), environ); failed != 0)
        return Error::make(ErrorCode::kNotFound, "{} cannot be run: {}", words[0], strerror(failed));
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    return Error::make(ErrorCode::kDevice, "{} failed, see above", words[0]);
}

Result<void> write_iso(const Arguments& arguments, const fs::path& root, ByteSpan kernel, ByteSpan model) {
    const ScratchFolder scratch = TRY(ScratchFolder::make());
    TRY(write_file(scratch.file("native.elf"), kernel));
    TRY(write_file(scratch.file("model.wllm"), model));
    std::vector<std::string> words = {(root / "iso" / "make-iso.sh").string(), scratch.file("native.elf"),
                                      arguments.output, "--model", scratch.file("model.wllm")};
    if (!arguments.config.empty()) words.insert(words.end(), {"--config", arguments.config});
    return run_program(words);
}

Result<void> work(const Arguments& arguments, const std::string& program, ByteSpan build, std::ostream& out) {
    const fs::path build_folder =
        fs::path(program).parent_path().parent_path();  // of build/host/bareflow-native
    const std::string kernel_path =
        arguments.kernel.empty() ? (build_folder / "bareflow-native.elf").string() : arguments.kernel;
    const SnapshotFile snapshot = TRY(SnapshotFile::open(arguments.snapshot));
    const MappedFile model = TRY(model_of(arguments));
    const MappedFile elf = TRY(MappedFile::open(kernel_path));
    const ModelIdentity identity = TRY(identity_of(model.bytes()));
    NativeFilling filling;
    const std::vector<uint8_t> kernel = TRY(native_kernel(elf.bytes(), snapshot, identity, build, filling));
    if (arguments.output.ends_with(".iso")) {
        TRY(write_iso(arguments, build_folder.parent_path(), kernel, model.bytes()));
    } else {
        TRY(write_file(arguments.output, kernel));
    }
    out << arguments.output << ": " << filling.routines << " routines, " << filling.bytes
        << " bytes of the segment; model " << model.bytes().size() << " bytes; image "
        << fs::file_size(arguments.output) << " bytes; needs "
        << describe(features_of_bits(snapshot.header().required_features)).view() << '\n';
    return {};
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
        if (!arguments.output.ends_with(".iso") && !arguments.output.ends_with(".elf"))
            throw CLI::ValidationError("--output", "must end with .iso or .elf");
        if (!arguments.config.empty() && !arguments.output.ends_with(".iso"))
            throw CLI::ValidationError("--config", "goes into an .iso");
    } catch (const CLI::ParseError& error) {
        return app.exit(error, out, errors) == 0 ? kOk : kUsage;
    }
    const Result<void> done = work(arguments, program, build, out);
    if (done.ok()) return kOk;
    errors << "bareflow-native: " << done.error().message.view() << '\n';
    return kFailed;
}

}  // namespace bareflow
