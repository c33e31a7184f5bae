// Emitted routines as a benchmark calls them, and the loops that find the machine's limits, emitted too.
#pragma once

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "arch/base/cpu_features.h"
#include "arch/base/result.h"
#include "arch/base/routine.h"
#include "emitter/tiny_assembler.h"

namespace bareflow::bench {

[[noreturn]] inline void give_up(const std::string& why) {
    std::fprintf(stderr, "bareflow-bench: %s\n", why.c_str());
    std::exit(1);
}

/// What is in it; exits with its error where it holds one.
template <typename T>
T must(Result<T> result) {
    if (!result.ok()) give_up(std::string(result.error().message()));
    return result.take();
}

/// One routine's code in pages of its own, sealed.
class Code {
 public:
    template <typename Emit>
    explicit Code(Emit emit) {
        void* pages = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED) give_up("no memory for code");
        code_ = static_cast<uint8_t*>(pages);
        x86::TinyAssembler a({code_, kBytes});
        emit(a);
        if (a.finish() != x86::AssemblerError::kNone) give_up("a routine could not be emitted");
        size_ = a.size();
        mprotect(code_, kBytes, PROT_READ | PROT_EXEC);
    }
    Code(const Code&) = delete;
    ~Code() { munmap(code_, kBytes); }
    size_t size() const { return size_; }
    template <typename Function>
    Function as() const {
        return reinterpret_cast<Function>(code_);
    }

 private:
    static constexpr size_t kBytes = 1 << 18;
    uint8_t* code_;
    size_t size_;
};

/// What the running CPU has, and the class and ISA that routines are measured in.
struct Machine {
    CpuFeatures cpu;
    NumericClass numerics;
    Isa isa;
};
Machine this_machine();

/// The key of y = W x in f32 for m rows of x, as this machine is measured.
RoutineKey projection_key(const Machine& machine, size_t m, size_t n, size_t k);
/// A routine for the key with the plan that the emitter chooses (or `plan`, completed); exits if there is none.
Code emit(const RoutineKey& key, const Plan& plan = {});

/// Reads `bytes` at `data` once, with the widest loads, and does nothing with them: as one stream, or as four side by
/// side, a quarter of the bytes apart, as routines read their panels. What is no multiple of 4 KiB stays unread.
class PureLoad {
 public:
    PureLoad(Isa isa, unsigned streams);
    void operator()(const void* data, size_t bytes) const {
        const size_t of_a_stream = bytes / streams_ / kStep * kStep;
        code_.as<void (*)(const void*, size_t, size_t)>()(data, of_a_stream, of_a_stream);
    }
    /// How much of `bytes` is read.
    double share_read(size_t bytes) const {
        return static_cast<double>(bytes / streams_ / kStep * kStep * streams_) / static_cast<double>(bytes);
    }

 private:
    static constexpr size_t kStep = 1024;
    size_t streams_;
    Code code_;
};

/// Multiply-adds that wait for nothing: `turns` times as many floating-point operations as flops_a_turn().
class PureMultiplyAdd {
 public:
    PureMultiplyAdd(Isa isa, NumericClass numerics);
    void operator()(size_t turns) const { code_.as<void (*)(size_t)>()(turns); }
    double flops_a_turn() const { return flops_; }

 private:
    double flops_;
    Code code_;
};

/// Sums of int8 products that wait for nothing, by the quickest instructions that the CPU has for them: VNNI, or
/// pmaddubsw with pmaddwd, or (SSE2) pmaddwd on words.
class PureIntegerDots {
 public:
    explicit PureIntegerDots(const Machine& machine);
    void operator()(size_t turns) const { code_.as<void (*)(size_t)>()(turns); }
    /// Multiplications and additions.
    double operations_a_turn() const { return operations_; }
    const char* name() const { return name_; }

 private:
    const char* name_ = "";
    double operations_ = 0;
    Code code_;
};

}  // namespace bareflow::bench
