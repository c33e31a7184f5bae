// What a routine works on: inputs between guard pages, poisoned outputs, and what the scalar reference makes of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "arch/base/tensor.h"
#include "tests/oracle/guarded.h"
#include "tests/oracle/routine_case.h"

namespace bareflow {

/// A part of memory that a routine was given.
struct MemoryRegion {
    std::string name;
    uint64_t begin = 0, size = 0;
    bool writable = false;
    bool readable_at_once = true;  ///< otherwise a byte can be read once it was written
};

/// The memory of one call: what goes in, and what must be there afterwards.
class RoutineMemory {
 public:
    explicit RoutineMemory(const RoutineCase& c);

    const void* arguments() const { return arguments_; }
    /// Everything as before a call, outputs poisoned.
    void reset();
    /// Empty, or the first thing that is not as the reference has it: an output, an input that changed, a canary.
    std::string difference() const;
    /// Exactly what the routine may touch.
    std::vector<MemoryRegion> regions() const;
    /// "4 bytes behind y".
    std::string locate(uint64_t address) const;

 private:
    struct Tensor {
        const char* name;
        std::unique_ptr<Guarded> memory;
        std::vector<uint8_t> before, wanted;
        enum class Use : uint8_t { kInput, kOutput, kAddedTo, kScratch } use;
    };
    Tensor& add(const char* name, Tensor::Use use, size_t bytes);
    float* input(const char* name, size_t count, float scale = 1);
    const void* cached(const char* name, size_t count);
    /// x of a product: the floats that the reference computes with, and what the routine is given.
    struct ProductInput {
        std::vector<float> floats;
        const void* given;
    };
    ProductInput product_input(size_t count, float scale = 1);
    void fill_quantised(std::vector<uint8_t>& bytes);
    float* output(const char* name, size_t count, bool added_to = false);
    const void* matrix(const char* name, unsigned rows);
    TensorView view(const void* data, unsigned rows) const;
    float* wanted(const float* output);

    void make_project();
    void make_gate_up();
    void make_qkv();
    void make_rms_norm();
    void make_attention();
    void make_argmax();
    void make_softmax();
    void make_quantise();
    uint64_t* output_index(uint32_t wanted_index);
    uint32_t random();
    float random_float(float scale);
    uint16_t random_half(float scale);
    size_t scratch_end(const Tensor& tensor, size_t row) const;

    const RoutineCase& case_;
    uint32_t state_;
    std::vector<Tensor> tensors_;
    /// In guarded memory too: the routine may read its arguments, and nothing beside.
    std::unique_ptr<Guarded> argument_memory_;
    const void* arguments_ = nullptr;
    size_t argument_bytes_ = 0;
    template <typename T>
    void set_arguments(const T& arguments);
};

/// Runs `code` on this CPU between poisoned registers (routine_call.h). Empty, or what is wrong.
std::string run_natively(const RoutineCase& c, ByteSpan code);
std::string run_natively(const RoutineCase& c, ByteSpan code, RoutineMemory& memory);

}  // namespace bareflow
