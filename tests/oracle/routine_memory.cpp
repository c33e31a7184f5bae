#include "tests/oracle/routine_memory.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <limits>

#include "arch/base/float16.h"
#include "model/reference.h"
#include "model/reference_table.h"
#include "tests/oracle/routine_call.h"

namespace bareflow {
namespace {

constexpr uint32_t kPoisonBits = 0x7FA0'BAD1;  ///< a signalling NaN

const ReferenceKernels& reference(NumericClass numerics) {
    return numerics == NumericClass::kFma ? kFmaKernels : kMulAddKernels;
}

uint32_t largest(const float* values, size_t n) {
    return reference_operators(NumericClass::kMulAdd, {}).value()->argmax(values, n);
}

std::string exact(float value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
    return text;
}

}  // namespace

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
            make_argmax();
            break;
        case Operation::kSoftmax:
            make_softmax();
            break;
        case Operation::kQuantise:
        case Operation::kQuantiseWords:
            make_quantise();
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
/// A half within ±scale, some of them subnormal.
uint16_t RoutineMemory::random_half(float scale) {
    const float value = random_float(scale);
    return f16_from_f32(random() % 50 ? value : value * 0x1p-16f);
}
/// Keys or values of a cache of the key's type.
const void* RoutineMemory::cached(const char* name, size_t count) {
    if (case_.key.type == ElementType::kF32) return input(name, count);
    Tensor& tensor = add(name, Tensor::Use::kInput, count * sizeof(uint16_t));
    auto* halves = reinterpret_cast<uint16_t*>(tensor.before.data());
    for (size_t i = 0; i < count; ++i) halves[i] = random_half(1);
    tensor.wanted = tensor.before;
    std::memcpy(tensor.memory->data(), halves, tensor.before.size());
    return tensor.memory->data();
}
RoutineMemory::ProductInput RoutineMemory::product_input(size_t count, float scale) {
    if (!is_quantised(case_.key.type)) {
        const float* x = input("x", count, scale);
        return {{x, x + count}, x};
    }
    std::vector<float> floats(count);
    for (float& value : floats) value = random_float(scale);
    Tensor& tensor = add("x", Tensor::Use::kInput, count / kGroup * sizeof(Q8Group));
    quantise_input_for(case_.key, tensor.before.data(), floats.data(), count);
    tensor.wanted = tensor.before;
    std::memcpy(tensor.memory->data(), tensor.before.data(), tensor.before.size());
    return {std::move(floats), tensor.memory->data()};
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
/// Any bytes (but -128 in Q8_0) are weights, the extremes often among them; scales are small numbers, some of them subnormal, some zero.
void RoutineMemory::fill_quantised(std::vector<uint8_t>& bytes) {
    const size_t panel = kPanelRows * row_bytes(case_.key.type, kGroup);
    for (uint8_t& byte : bytes)
        byte = static_cast<uint8_t>(random() % 4 != 0 ? random() : 0x7F + random() % 3);
    if (case_.key.type == ElementType::kQ8_0)
        std::replace(bytes.begin(), bytes.end(), uint8_t{0x80}, uint8_t{0x81});
    for (size_t at = 0; at < bytes.size(); at += panel) {
        for (size_t output = 0; output < kPanelRows; ++output) {
            const uint16_t scale = f16_from_f32(random_float(random() % 50 ? 0.1f : 0x1p-16f));
            std::memcpy(bytes.data() + at + output * sizeof scale, &scale, sizeof scale);
        }
    }
}
/// (rows, k) in panels; rows that do not exist are zero.
const void* RoutineMemory::matrix(const char* name, unsigned rows) {
    const TensorView shape = view(nullptr, rows);
    Tensor& tensor = add(name, Tensor::Use::kInput, shape.bytes());
    if (is_quantised(shape.type)) fill_quantised(tensor.before);
    for (size_t i = 0; !is_quantised(shape.type) && i < shape.stored_rows() * shape.columns; ++i) {
        const size_t row = i / (kPanelRows * shape.columns) * kPanelRows + i % kPanelRows;
        if (row >= rows) continue;
        constexpr float kScale = 0.75f;
        if (case_.key.type == ElementType::kF32) {
            reinterpret_cast<float*>(tensor.before.data())[i] = random_float(kScale);
        } else {
            reinterpret_cast<uint16_t*>(tensor.before.data())[i] = random_half(kScale);
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
    const ProductInput x = product_input(size_t{key.m} * key.k);
    float* y = output("y", size_t{key.m} * key.n, key.epilogue == Epilogue::kAdd);
    const ReferenceKernels& r = reference(key.numerics);
    const auto function = key.epilogue == Epilogue::kAdd ? r.project_add : r.matvec;
    for (size_t row = 0; row < key.m; ++row)
        function(wanted(y) + row * key.n, view(w, key.n), x.floats.data() + row * key.k);
    uint64_t* index = nullptr;
    if (key.epilogue == Epilogue::kArgmax) index = output_index(largest(wanted(y), key.n));
    set_arguments(ProjectArguments{y, w, x.given, index});
}
void RoutineMemory::make_gate_up() {
    const RoutineKey& key = case_.key;
    const void *gate = matrix("gate", key.n), *up = matrix("up", key.n);
    const ProductInput x =
        product_input(size_t{key.m} * key.k, random() % 4 == 0 ? 40.0f : 2.0f);  // large: e^x clamps
    float* h = output("h", size_t{key.m} * key.n);
    for (size_t row = 0; row < key.m; ++row) {
        reference(key.numerics)
            .gate_up(wanted(h) + row * key.n, view(gate, key.n), view(up, key.n),
                     x.floats.data() + row * key.k);
    }
    set_arguments(GateUpArguments{h, gate, up, x.given});
}
void RoutineMemory::make_qkv() {
    const RoutineKey& key = case_.key;
    const void *query = matrix("query", key.n), *keys = matrix("key", key.kv_n),
               *value = matrix("value", key.kv_n);
    const ProductInput x = product_input(key.k);
    const float *cos = input("cos", key.head_size / 2), *sin = input("sin", key.head_size / 2);
    float *q = output("q", key.n), *k = output("k", key.kv_n), *v = output("v", key.kv_n);
    const ReferenceKernels& r = reference(key.numerics);
    r.matvec(wanted(q), view(query, key.n), x.floats.data());
    r.matvec(wanted(k), view(keys, key.kv_n), x.floats.data());
    r.matvec(wanted(v), view(value, key.kv_n), x.floats.data());
    r.rope(wanted(q), key.n, key.head_size, cos, sin);
    r.rope(wanted(k), key.kv_n, key.head_size, cos, sin);
    set_arguments(QkvArguments{q, k, v, query, keys, value, x.given, cos, sin});
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
    const float* q = input("q", q_size, random() % 4 == 0 ? 20.0f : 1.0f);
    const void *keys = cached("keys", cache), *values = cached("values", cache);
    float *out = output("out", q_size), *scores = output("scores", size_t{key.num_heads} * case_.stride);
    tensors_.back().use = Tensor::Use::kScratch;
    std::vector<float> reference_scores(size_t{key.num_heads} * case_.stride);
    reference(key.numerics)
        .attention(wanted(out), q, keys, values, key.type, case_.positions, key.num_heads, key.num_kv_heads,
                   key.head_size, reference_scores.data(), case_.stride);
    set_arguments(AttentionArguments{out, q, keys, values, case_.positions, scores, case_.stride,
                                     size_t{key.num_kv_heads} * key.head_size * size_of(key.type)});
}

/// Ties, NaNs, infinities and zeros of both signs are what makes an argmax difficult.
void RoutineMemory::make_argmax() {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kSpecial[] = {-kInfinity, __builtin_nanf(""), kInfinity, 0.0f, -0.0f, 2.5f};
    const uint32_t n = case_.key.n, how = random() % 4;
    const float* values = input("values", n);
    auto* changed = reinterpret_cast<float*>(tensors_.back().before.data());
    for (uint32_t i = 0; i < n; ++i) {
        if (how == 0) changed[i] = kSpecial[random() % 2];
        if (how == 1 && random() % 2 == 0) changed[i] = kSpecial[random() % std::size(kSpecial)];
    }
    tensors_.back().wanted = tensors_.back().before;
    set_arguments(ArgmaxArguments{output_index(largest(changed, n)), values});
}
void RoutineMemory::make_softmax() {
    const uint32_t n = case_.key.n;
    float* values = output("values", n, true);
    reference(case_.key.numerics).softmax(wanted(values), n);
    set_arguments(SoftmaxArguments{values});
}
/// Groups of zeros, of less than counts, of NaNs and infinities are among the others.
void RoutineMemory::make_quantise() {
    constexpr float kSpecial[] = {std::numeric_limits<float>::infinity(), __builtin_nanf(""), 0x1p-101f,
                                  kSmallestQ8Group};
    const uint32_t n = case_.key.n;
    const float* x = input("x", n);
    auto* changed = reinterpret_cast<float*>(tensors_.back().before.data());
    for (uint32_t first = 0; first < n; first += kGroup) {
        const uint32_t how = random() % 8;
        for (uint32_t i = first; how < 2 && i < first + kGroup; ++i) changed[i] *= how == 0 ? 0 : 0x1p-120f;
        if (how == 3 || how == 4)
            changed[first + random() % kGroup] = kSpecial[random() % std::size(kSpecial)];
    }
    tensors_.back().wanted = tensors_.back().before;
    std::memcpy(tensors_.back().memory->data(), changed, n * sizeof(float));
    const float* groups = output("groups", n / kGroup * sizeof(Q8Group) / sizeof(float));
    if (case_.key.operation == Operation::kQuantiseWords) {
        quantise_input(reinterpret_cast<Q8WordGroup*>(wanted(groups)), changed, n);
    } else {
        quantise_input(reinterpret_cast<Q8Group*>(wanted(groups)), changed, n);
    }
    set_arguments(QuantiseArguments{const_cast<float*>(groups), x});
}
uint64_t* RoutineMemory::output_index(uint32_t wanted_index) {
    auto* index = reinterpret_cast<uint64_t*>(output("index", sizeof(uint64_t) / sizeof(float)));
    const uint64_t value = wanted_index;
    std::memcpy(tensors_.back().wanted.data(), &value, sizeof value);
    return index;
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
                return std::string(tensor.name) + "[" + std::to_string(i) + "] is " + exact(got[i]) +
                       ", the reference has " + exact(wanted);
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
