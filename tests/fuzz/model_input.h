// What the fuzzers of the importer's readers share.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "model/tokenizer.h"
#include "model/tools/model_source.h"
#include "model/tools/std_allocator.h"
#include "model/tools/wllm_writer.h"

namespace bareflow::fuzz {

[[noreturn]] inline void wrong(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

/// How much of what was tried was sound, told at the end: a fuzzer that only ever sees refusals proves little.
struct Counts {
    uint64_t runs = 0, accepted = 0;
    const char* what;
    explicit Counts(const char* name) : what(name) {}
    ~Counts() { std::fprintf(stderr, "%llu of %llu inputs were %s\n", 0ULL + accepted, 0ULL + runs, what); }
};

/// A file that is in memory only.
class MemoryFile {
 public:
    MemoryFile(const uint8_t* data, size_t size) : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
        if (::write(fd_.get(), data, size) != static_cast<ssize_t>(size)) wrong("no memory file");
    }
    std::string path() const { return "/proc/self/fd/" + std::to_string(fd_.get()); }

 private:
    Descriptor fd_;
};

}  // namespace bareflow::fuzz
