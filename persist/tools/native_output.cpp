#include "persist/tools/native_output.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "model/tools/files.h"
#include "persist/tools/packed_model.h"

extern char** environ;

namespace bareflow {
namespace {

namespace fs = std::filesystem;

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

}  // namespace

Result<void> write_native_image(const NativeOutput& output, ByteSpan kernel, ByteSpan model) {
    if (output.path.ends_with(".elf")) {
        if (!output.with_model) return write_file(output.path, kernel);
        return write_file(output.path, TRY(with_model(kernel, model)));
    }
    const ScratchFolder scratch = TRY(ScratchFolder::make());
    const std::string kernel_file = scratch.file("native.elf"), model_file = scratch.file("model.wllm");
    TRY(write_file(kernel_file, kernel));
    TRY(write_file(model_file, model));
    const fs::path scripts = output.root / "iso";
    std::vector<std::string> words;
    if (output.path.ends_with(".iso")) {
        words = {(scripts / "make-iso.sh").string(), kernel_file, output.path};
    } else {
        words = {(scripts / "make-disk.sh").string(),
                 "--native",
                 kernel_file,
                 "--stage",
                 "native",
                 "-o",
                 output.path};
    }
    words.insert(words.end(), {"--model", model_file});
    if (!output.config.empty()) words.insert(words.end(), {"--config", output.config});
    return run_program(words);
}

}  // namespace bareflow
