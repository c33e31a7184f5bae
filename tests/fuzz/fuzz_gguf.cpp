// Any bytes as a GGUF: refused with a message, or imported into a .wllm that the loader accepts. The corpus begins with
// models that the tests' writer has made (make-gguf --corpus), so that damage is found behind the header too.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>
#include <string>

#include "model/tools/files.h"
#include "model/tools/gguf_inspect.h"
#include "model/tools/import.h"

using namespace bareflow;

namespace {

/// A file in memory, by a name under which it can be opened.
struct MemoryFile {
    Descriptor fd{memfd_create("fuzz", MFD_CLOEXEC)};
    std::string path = "/proc/self/fd/" + std::to_string(fd.get());
};

void require(bool holds) {
    if (!holds) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static MemoryFile file;
    static const Descriptor made(memfd_create("made", MFD_CLOEXEC));
    FileWriter writer(file.fd.get(), "fuzz.gguf");
    require(writer.reset(size).ok() && writer.write_at(0, {data, size}).ok());
    constexpr uint8_t kMagic[] = {'G', 'G', 'U', 'F'};
    if (size < sizeof kMagic) return 0;
    require(writer.write_at(0, kMagic).ok());

    std::ostringstream shown;
    const Result<void> inspected = inspect_gguf(file.path, shown);
    ImportRequest request;
    request.model = file.path;
    const Result<ImportSummary> imported = import_model(request, made.get());
    require(inspected.ok() || !inspected.error().message().empty());
    // What is imported can be shown, and import_model() has read it back.
    require(!imported.ok() || inspected.ok());
    require(imported.ok() || !imported.error().message().empty());
    return 0;
}
