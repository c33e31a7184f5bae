#include "tests/oracle/routine_case.h"

#include <bit>
#include <cstring>

#include "arch/base/float16.h"
#include "emitter/routine_emitter.h"
#include "emitter/tiny_assembler.h"
#include "model/reference_table.h"
#include "tests/oracle/routine_call.h"
#include "tests/oracle/this_cpu.h"

namespace bareflow {
namespace {

constexpr uint32_t kPoisonBits = 0x7FA0'BAD1;  ///< a signalling NaN

const ReferenceKernels& reference(NumericClass numerics) {
    return numerics == NumericClass::kFma ? kFmaKernels : kMulAddKernels;
}
bool has_weights(Operation operation) {
    return operation == Operation::kProject || operation == Operation::kGateUp ||
           operation == Operation::kQkv;
}

Plan choose_plan(x86::Chooser& choose, const RoutineKey& key) {
    Plan plan;
    plan.panels = static_cast<uint8_t>(choose.one_in(8) ? choose.below(20) : choose.below(9));
    plan.rows = static_cast<uint8_t>(choose.one_in(8) ? choose.below(40) : choose.below(9));
    plan.unroll = static_cast<uint8_t>(choose.one_in(8) ? key.k % 64 + 1 : 1 + choose.below(9));
    plan.vector_bytes = choose.pick(std::vector<uint8_t>{0, 16, 32, 64});
    plan.prefetch = choose.pick(std::vector<uint16_t>{0, 0, 64, 4096});
    return complete_plan(key, plan);
}

}  // namespace

bool runs_here(const CaseKind& kind) { return runs_on(this_cpu(), kind.isa, kind.numerics); }

const std::vector<CaseKind>& all_kinds() {
    static const std::vector<CaseKind> kinds = [] {
        std::vector<CaseKind> found;
        const auto add = [&](const CaseKind& kind) {
            if (kind.isa == Isa::kSse2 && kind.numerics == NumericClass::kFma) return;
            if (kind.numerics == NumericClass::kFma && !this_cpu().fma) return;
            found.push_back(kind);
        };
        for (const Isa isa : {Isa::kSse2, Isa::kAvx2, Isa::kAvx512}) {
            for (const NumericClass numerics : {NumericClass::kFma, NumericClass::kMulAdd}) {
                for (const ElementType type : {ElementType::kF32, ElementType::kF16}) {
                    add({Operation::kProject, numerics, isa, Epilogue::kStore, type});
                    add({Operation::kProject, numerics, isa, Epilogue::kAdd, type});
                    add({Operation::kGateUp, numerics, isa, Epilogue::kStore, type});
                    add({Operation::kQkv, numerics, isa, Epilogue::kStore, type});
                }
                add({Operation::kRmsNorm, numerics, isa, {}, {}});
                add({Operation::kAttention, numerics, isa, {}, {}});
            }
        }
        return found;
    }();
    return kinds;
}

RoutineCase choose_case(x86::Chooser& choose, const CaseSizes& sizes) {
    return choose_case(choose, choose.pick(all_kinds()), sizes);
}

RoutineCase choose_case(x86::Chooser& choose, const CaseKind& kind, const CaseSizes& sizes) {
    const auto size = [&](unsigned largest) { return 1 + choose.below(largest); };
    RoutineCase c;
    RoutineKey& key = c.key;
    key = {
        .operation = kind.operation, .numerics = kind.numerics, .isa = kind.isa, .epilogue = kind.epilogue};
    key.n = size(choose.one_in(2) ? sizes.n : 40);
    if (has_weights(kind.operation)) {
        key.type = kind.type;
        key.layout = Layout::kPanels16;
        key.k = size(choose.one_in(2) ? sizes.k : 12);
        if (kind.operation != Operation::kQkv && choose.one_in(2)) key.m = size(sizes.m);
    }
    if (kind.operation == Operation::kQkv) {
        key.head_size = choose.pick(std::vector<uint32_t>{2, 4, 6, 8, 10, 12, 16, 24, 32, 48});
        const unsigned kv_heads = size(3);
        key.kv_n = kv_heads * key.head_size;
        key.n = key.kv_n * size(sizes.n < 4 * key.kv_n ? 2 : 4);
    }
    if (kind.operation == Operation::kRmsNorm) {
        const std::vector<float> eps = {1e-5f, 1e-6f, 0x1p-20f};
        key.eps = choose.pick(eps);
    }
    if (kind.operation == Operation::kAttention) {
        key.n = 0;
        key.head_size = 4 * size(choose.one_in(4) ? 64 : 17);
        key.num_kv_heads = size(3);
        key.num_heads = key.num_kv_heads * size(3);
        c.positions = size(sizes.positions);
        c.stride = c.positions + choose.below(3);
    }
    c.plan = choose_plan(choose, key);
    c.guard = choose.one_in(2) ? Guarded::Guard::kBehind : Guarded::Guard::kBefore;
    c.seed = choose.below(UINT32_MAX);
    return c;
}

std::string to_string(const RoutineCase& c) {
    const Plan& p = c.plan;
    std::string text(name_of(c.key).view());
    if (c.key.epilogue == Epilogue::kAdd) text += " (added)";
    text += ", plan " + std::to_string(p.panels) + " panels, " + std::to_string(p.rows) + " rows, unroll " +
            std::to_string(p.unroll) + ", " + std::to_string(p.vector_bytes) + " bytes, prefetch " +
            std::to_string(p.prefetch);
    if (c.key.operation == Operation::kAttention) text += ", " + std::to_string(c.positions) + " positions";
    return text + (c.guard == Guarded::Guard::kBehind ? ", guarded behind" : ", guarded before") + ", seed " +
           std::to_string(c.seed);
}

EmittedRoutine emit_with_tiny(const RoutineKey& key, const Plan& plan, std::span<uint8_t> buffer) {
    x86::TinyAssembler a(buffer);
    emit_routine(a, key, plan);
    const x86::AssemblerError error = a.finish();
    return {error, a.code()};
}

std::span<uint8_t> code_buffer() {
    constexpr size_t kBytes = 1 << 20;
    static uint8_t* const memory = static_cast<uint8_t*>(
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    return {memory, kBytes};
}

// ---------------------------------------------------------------- memory of a call
RoutineMemory::RoutineMemory(const RoutineCase& c) : case_(c), state_(c.seed | 1) {
    tensors_.reserve(16);  // pointers into it are kept while a case is made
    switch (c.key.operation) {
        case Operation::kProject:
            make_project();
            break;
        case Operation::kGateUp:
            make_gate_up();
            break;
        case Operation::kQkv:
            make_qkv();
            break;
        case Operation::kRmsNorm:
            make_rms_norm();
            break;
        case Operation::kAttention:
            make_attention();
            break;
        case Operation::kArgmax:
            break;
    }
    reset();
}

uint32_t RoutineMemory::random() {  // xorshift32 (Marsaglia 2003)
    state_ ^= state_ << 13;
    state_ ^= state_ >> 17;
    state_ ^= state_ << 5;
    return state_;
}
/// Within ±scale; some are zeros of either sign, or so small that products underflow.
float RoutineMemory::random_float(float scale) {
    const uint32_t bits = random();
    const float value = (static_cast<float>(bits >> 8) * 0x1p-23f - 1.0f) * scale;
    switch (bits & 63) {
        case 0:
            return bits & 64 ? 0.0f : -0.0f;
        case 1:
            return value * 0x1p-130f;
        default:
            return value;
    }
}

RoutineMemory::Tensor& RoutineMemory::add(const char* name, Tensor::Use use, size_t bytes) {
    tensors_.push_back(
        {name, std::make_unique<Guarded>(bytes, case_.guard), std::vector<uint8_t>(bytes), {}, use});
    return tensors_.back();
}
float* RoutineMemory::input(const char* name, size_t count, float scale) {
    Tensor& tensor = add(name, Tensor::Use::kInput, count * sizeof(float));
    auto* values = reinterpret_cast<float*>(tensor.before.data());
    for (size_t i = 0; i < count; ++i) values[i] = random_float(scale);
    tensor.wanted = tensor.before;
    std::memcpy(tensor.memory->data(), values, count * sizeof(float));
    return reinterpret_cast<float*>(tensor.memory->data());
}
float* RoutineMemory::output(const char* name, size_t count, bool added_to) {
    Tensor& tensor =
        add(name, added_to ? Tensor::Use::kAddedTo : Tensor::Use::kOutput, count * sizeof(float));
    auto* values = reinterpret_cast<float*>(tensor.before.data());
    for (size_t i = 0; i < count; ++i)
        values[i] = added_to ? random_float(1) : std::bit_cast<float>(kPoisonBits);
    tensor.wanted = tensor.before;
    return reinterpret_cast<float*>(tensor.memory->data());
}
/// (rows, k) in panels; rows that do not exist are zero.
const void* RoutineMemory::matrix(const char* name, unsigned rows) {
    const TensorView shape = view(nullptr, rows);
    Tensor& tensor = add(name, Tensor::Use::kInput, shape.bytes());
    for (size_t i = 0; i < shape.stored_rows() * shape.columns; ++i) {
        const size_t row = i / (kPanelRows * shape.columns) * kPanelRows + i % kPanelRows;
        const float value = row < rows ? random_float(0.75f) : 0;
        if (case_.key.type == ElementType::kF32) {
            reinterpret_cast<float*>(tensor.before.data())[i] = value;
        } else {  // some of them subnormal as binary16
            reinterpret_cast<uint16_t*>(tensor.before.data())[i] =
                f16_from_f32(random() % 50 ? value : value * 0x1p-16f);
        }
    }
    tensor.wanted = tensor.before;
    std::memcpy(tensor.memory->data(), tensor.before.data(), shape.bytes());
    return tensor.memory->data();
}
TensorView RoutineMemory::view(const void* data, unsigned rows) const {
    return {data, rows, case_.key.k, case_.key.type, Layout::kPanels16};
}
/// Where the reference writes what belongs into `output`.
float* RoutineMemory::wanted(const float* output) {
    for (Tensor& tensor : tensors_) {
        if (reinterpret_cast<const float*>(tensor.memory->data()) == output)
            return reinterpret_cast<float*>(tensor.wanted.data());
    }
    return nullptr;
}
template <typename T>
void RoutineMemory::set_arguments(const T& arguments) {
    argument_memory_ = std::make_unique<Guarded>(sizeof arguments, case_.guard);
    std::memcpy(argument_memory_->data(), &arguments, sizeof arguments);
    arguments_ = argument_memory_->data();
    argument_bytes_ = sizeof arguments;
}

void RoutineMemory::make_project() {
    const RoutineKey& key = case_.key;
    const void* w = matrix("w", key.n);
    const float* x = input("x", size_t{key.m} * key.k);
    float* y = output("y", size_t{key.m} * key.n, key.epilogue == Epilogue::kAdd);
    const ReferenceKernels& r = reference(key.numerics);
    const auto function = key.epilogue == Epilogue::kAdd ? r.project_add : r.matvec;
    for (size_t row = 0; row < key.m; ++row)
        function(wanted(y) + row * key.n, view(w, key.n), x + row * key.k);
    set_arguments(ProjectArguments{y, w, x});
}
void RoutineMemory::make_gate_up() {
    const RoutineKey& key = case_.key;
    const void *gate = matrix("gate", key.n), *up = matrix("up", key.n);
    const float* x =
        input("x", size_t{key.m} * key.k, random() % 4 == 0 ? 40.0f : 2.0f);  // large: e^x clamps
    float* h = output("h", size_t{key.m} * key.n);
    for (size_t row = 0; row < key.m; ++row) {
        reference(key.numerics)
            .gate_up(wanted(h) + row * key.n, view(gate, key.n), view(up, key.n), x + row * key.k);
    }
    set_arguments(GateUpArguments{h, gate, up, x});
}
void RoutineMemory::make_qkv() {
    const RoutineKey& key = case_.key;
    const void *query = matrix("query", key.n), *keys = matrix("key", key.kv_n),
               *value = matrix("value", key.kv_n);
    const float *x = input("x", key.k), *cos = input("cos", key.head_size / 2),
                *sin = input("sin", key.head_size / 2);
    float *q = output("q", key.n), *k = output("k", key.kv_n), *v = output("v", key.kv_n);
    const ReferenceKernels& r = reference(key.numerics);
    r.matvec(wanted(q), view(query, key.n), x);
    r.matvec(wanted(k), view(keys, key.kv_n), x);
    r.matvec(wanted(v), view(value, key.kv_n), x);
    r.rope(wanted(q), key.n, key.head_size, cos, sin);
    r.rope(wanted(k), key.kv_n, key.head_size, cos, sin);
    set_arguments(QkvArguments{q, k, v, query, keys, value, x, cos, sin});
}
void RoutineMemory::make_rms_norm() {
    const RoutineKey& key = case_.key;
    const float *x = input("x", key.n, random() % 4 == 0 ? 1e4f : 2.0f), *weight = input("weight", key.n);
    float* y = output("y", key.n);
    reference(key.numerics).rms_norm(wanted(y), x, weight, key.n, key.eps);
    set_arguments(RmsNormArguments{y, x, weight});
}
void RoutineMemory::make_attention() {
    const RoutineKey& key = case_.key;
    const size_t q_size = size_t{key.num_heads} * key.head_size,
                 cache = size_t{case_.positions} * key.num_kv_heads * key.head_size;
    const float *q = input("q", q_size, random() % 4 == 0 ? 20.0f : 1.0f), *keys = input("keys", cache),
                *values = input("values", cache);
    float *out = output("out", q_size), *scores = output("scores", size_t{key.num_heads} * case_.stride);
    tensors_.back().use = Tensor::Use::kScratch;
    std::vector<float> reference_scores(size_t{key.num_heads} * case_.stride);
    reference(key.numerics)
        .attention(wanted(out), q, keys, values, case_.positions, key.num_heads, key.num_kv_heads,
                   key.head_size, reference_scores.data(), case_.stride);
    set_arguments(AttentionArguments{out, q, keys, values, case_.positions, scores, case_.stride});
}

void RoutineMemory::reset() {
    for (Tensor& tensor : tensors_)
        std::memcpy(tensor.memory->data(), tensor.before.data(), tensor.before.size());
}

std::string RoutineMemory::difference() const {
    for (const Tensor& tensor : tensors_) {
        const auto* got = reinterpret_cast<const float*>(tensor.memory->data());
        const bool floats = tensor.use != Tensor::Use::kInput;
        if (!floats) {
            if (std::memcmp(got, tensor.wanted.data(), tensor.wanted.size()) != 0)
                return std::string("its input ") + tensor.name + " was changed";
        } else {
            for (size_t i = 0; i < tensor.wanted.size() / sizeof(float); ++i) {
                if (tensor.use == Tensor::Use::kScratch && i % case_.stride < case_.positions) continue;
                const float wanted = reinterpret_cast<const float*>(tensor.wanted.data())[i];
                if (std::bit_cast<uint32_t>(got[i]) == std::bit_cast<uint32_t>(wanted)) continue;
                return std::string(tensor.name) + "[" + std::to_string(i) + "] is " + std::to_string(got[i]) +
                       ", the reference has " + std::to_string(wanted);
            }
        }
        if (!tensor.memory->canaries_live()) return std::string("wrote outside of ") + tensor.name;
    }
    return argument_memory_->canaries_live() ? "" : "wrote outside of its arguments";
}

std::vector<MemoryRegion> RoutineMemory::regions() const {
    std::vector<MemoryRegion> found;
    const auto at = [](const void* data) { return reinterpret_cast<uint64_t>(data); };
    found.push_back({"arguments", at(arguments_), argument_bytes_, false, true});
    for (const Tensor& tensor : tensors_) {
        const uint64_t begin = at(tensor.memory->data());
        if (tensor.use == Tensor::Use::kScratch) {  // of each row only the positions
            for (uint64_t row = 0; row < case_.key.num_heads; ++row) {
                found.push_back({tensor.name, begin + row * case_.stride * sizeof(float),
                                 case_.positions * sizeof(float), true, false});
            }
            continue;
        }
        const bool output = tensor.use == Tensor::Use::kOutput;
        found.push_back(
            {tensor.name, begin, tensor.before.size(), tensor.use != Tensor::Use::kInput, !output});
    }
    return found;
}

std::string RoutineMemory::locate(uint64_t address) const {
    constexpr uint64_t kNear = 8192;
    for (const MemoryRegion& region : regions()) {
        const uint64_t end = region.begin + region.size;
        if (address >= region.begin && address < end)
            return "byte " + std::to_string(address - region.begin) + " of " + region.name;
        if (address >= end && address < end + kNear)
            return std::to_string(address - end) + " bytes behind " + region.name;
        if (address < region.begin && address + kNear > region.begin)
            return std::to_string(region.begin - address) + " bytes before " + region.name;
    }
    return "nowhere near its memory";
}

std::string run_natively(const RoutineCase& c, ByteSpan code, RoutineMemory& memory) {
    const CallOutcome outcome = call_poisoned(reinterpret_cast<Routine>(const_cast<uint8_t*>(code.data())),
                                              memory.arguments(), c.key.isa);
    if (outcome.fault_signal != 0) {
        return "faulted (signal " + std::to_string(outcome.fault_signal) + ") at " +
               memory.locate(outcome.fault_address);
    }
    return outcome.wrong.empty() ? memory.difference() : outcome.wrong;
}
std::string run_natively(const RoutineCase& c, ByteSpan code) {
    RoutineMemory memory(c);
    return run_natively(c, code, memory);
}

}  // namespace bareflow
