#include "emitter/tools/run_routine.h"

#include <sys/mman.h>

#include <algorithm>
#include <random>

#include "arch/base/float16.h"
#include "arch/host/code_memory.h"
#include "arch/host/host_platform.h"
#include "arch/routine_probe.h"
#include "emitter/routine_emitter.h"
#include "model/reference.h"
#include "model/tools/std_allocator.h"

namespace bareflow {
namespace {

constexpr size_t kPositions = 128;  ///< of the KV cache, for the timing of attention

/// Code in pages of its own, executable.
class CodePage {
 public:
    static Result<CodePage> make(std::span<const uint8_t> code) {
        constexpr size_t kPage = CodePages::kPageSize;
        const size_t bytes = (code.size() + kPage - 1) / kPage * kPage;
        void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) return out_of_memory("no memory for {} bytes of code", bytes);
        CodePage page(memory, bytes);
        __builtin_memcpy(memory, code.data(), code.size());
        HostCodePages rights;
        TRY(rights.make_executable(memory, bytes));
        return page;
    }
    CodePage(CodePage&& other) noexcept : memory_(other.memory_), bytes_(other.bytes_) { other.bytes_ = 0; }
    CodePage& operator=(CodePage&&) = delete;
    ~CodePage() {
        if (bytes_ != 0) munmap(memory_, bytes_);
    }
    Routine routine() const { return reinterpret_cast<Routine>(memory_); }

 private:
    CodePage(void* memory, size_t bytes) : memory_(memory), bytes_(bytes) {}
    void* memory_;
    size_t bytes_;
};

/// Operands of a routine, filled with small values, and what a call of it costs.
class Operands {
 public:
    static Result<Operands> make(const RoutineKey& key) {
        Operands made;
        TRY(made.fill(key));
        return made;
    }
    const void* arguments() const { return &arguments_; }
    double flops = 0;  ///< of one call
    double bytes = 0;  ///< that one call reads and writes, each once

 private:
    union Arguments {
        ProjectArguments project;
        QkvArguments qkv;
        GateUpArguments gate_up;
        RmsNormArguments rms_norm;
        AttentionArguments attention;
        ArgmaxArguments argmax;
        SoftmaxArguments softmax;
        QuantiseArguments quantise;
    };

    Result<void> fill(const RoutineKey& key);
    Result<float*> floats(size_t count) {
        Buffer<uint8_t> buffer = TRY(Buffer<uint8_t>::make(allocator(), count * sizeof(float), "operand"));
        auto* values = reinterpret_cast<float*>(buffer.data());
        for (size_t i = 0; i < count; ++i) values[i] = uniform_(random_);
        bytes += static_cast<double>(count * sizeof(float));
        buffers_.push_back(std::move(buffer));
        return values;
    }
    /// x as routines of the key want it.
    Result<const void*> input(const RoutineKey& key) {
        const size_t count = size_t{key.m} * key.k;
        const float* x = TRY(floats(count));
        if (!is_quantised(key.type)) return static_cast<const void*>(x);
        Buffer<uint8_t> groups =
            TRY(Buffer<uint8_t>::make(allocator(), count / kGroup * sizeof(Q8Group), "quantised input"));
        quantise_input_for(key, groups.data(), x, count);
        buffers_.push_back(std::move(groups));
        return static_cast<const void*>(buffers_.back().data());
    }
    Result<uint64_t*> index() {
        return reinterpret_cast<uint64_t*>(TRY(floats(sizeof(uint64_t) / sizeof(float))));
    }
    /// Weights repeat after some thousands, which no routine can notice.
    void fill_plain(ElementType type, Buffer<uint8_t>& buffer) {
        constexpr size_t kDifferent = 1 << 16;
        const size_t unit = size_of(type), size = buffer.size(),
                     different = std::min(kDifferent, size / unit);
        for (size_t i = 0; i < different; ++i) {
            const float value = uniform_(random_);
            const uint16_t half = f16_from_f32(value);
            const void* from = type == ElementType::kF16 ? static_cast<const void*>(&half) : &value;
            __builtin_memcpy(buffer.data() + i * unit, from, unit);
        }
        for (size_t at = different * unit; at < size; at += different * unit) {
            __builtin_memcpy(buffer.data() + at, buffer.data(), std::min(different * unit, size - at));
        }
    }
    /// Any bytes are weights; the scales are chosen.
    void fill_panels(ElementType type, Buffer<uint8_t>& buffer) {
        const size_t panel = kPanelRows * row_bytes(type, kGroup);
        for (size_t at = 0; at < buffer.size(); ++at) {
            const auto byte = static_cast<uint8_t>(random_());
            buffer[at] = byte == 0x80 ? 0 : byte;  // -128 is no value of Q8_0
        }
        for (size_t at = 0; at < buffer.size(); at += panel) {
            for (size_t output = 0; output < kPanelRows; ++output) {
                const uint16_t scale = f16_from_f32(uniform_(random_));
                __builtin_memcpy(buffer.data() + at + output * sizeof scale, &scale, sizeof scale);
            }
        }
    }
    /// `count` elements of a KV cache.
    Result<const void*> cached(ElementType type, size_t count) {
        Buffer<uint8_t> buffer = TRY(Buffer<uint8_t>::make(allocator(), count * size_of(type), "KV cache"));
        fill_plain(type, buffer);
        bytes += static_cast<double>(buffer.size());
        buffers_.push_back(std::move(buffer));
        return static_cast<const void*>(buffers_.back().data());
    }
    Result<const void*> matrix(const RoutineKey& key, uint32_t rows) {
        const TensorView view{nullptr, rows, key.k, key.type, key.layout};
        Buffer<uint8_t> buffer = TRY(Buffer<uint8_t>::make(allocator(), view.bytes(), "weights"));
        if (is_quantised(key.type)) {
            fill_panels(key.type, buffer);
        } else {
            fill_plain(key.type, buffer);
        }
        bytes += static_cast<double>(view.bytes());
        buffers_.push_back(std::move(buffer));
        return static_cast<const void*>(buffers_.back().data());
    }
    static Allocator& allocator() {
        static StdAllocator instance;
        return instance;
    }

    Arguments arguments_ = {};
    std::vector<Buffer<uint8_t>> buffers_;
    std::mt19937 random_{1};
    std::uniform_real_distribution<float> uniform_{-0.5f, 0.5f};
};

Result<void> Operands::fill(const RoutineKey& key) {
    const double m = key.m, n = key.n, k = key.k;
    switch (key.operation) {
        case Operation::kProject: {
            const size_t outputs = size_t{key.m} * key.n;
            arguments_.project = {TRY(floats(outputs)), TRY(matrix(key, key.n)), TRY(input(key)),
                                  TRY(index())};
            flops = 2 * m * n * k;
            return {};
        }
        case Operation::kGateUp:
            arguments_.gate_up = {TRY(floats(size_t{key.m} * key.n)), TRY(matrix(key, key.n)),
                                  TRY(matrix(key, key.n)), TRY(input(key))};
            flops = 4 * m * n * k;
            return {};
        case Operation::kQkv:
            arguments_.qkv = {
                TRY(floats(key.n)),      TRY(floats(key.kv_n)),          TRY(floats(key.kv_n)),
                TRY(matrix(key, key.n)), TRY(matrix(key, key.kv_n)),     TRY(matrix(key, key.kv_n)),
                TRY(input(key)),         TRY(floats(key.head_size / 2)), TRY(floats(key.head_size / 2))};
            flops = 2 * (n + 2.0 * key.kv_n) * k;
            return {};
        case Operation::kRmsNorm:
            arguments_.rms_norm = {TRY(floats(key.n)), TRY(floats(key.n)), TRY(floats(key.n))};
            flops = 4 * n;
            return {};
        case Operation::kAttention: {
            const size_t q = size_t{key.num_heads} * key.head_size,
                         kv = size_t{key.num_kv_heads} * key.head_size;
            arguments_.attention = {TRY(floats(q)),
                                    TRY(floats(q)),
                                    TRY(cached(key.type, kv * kPositions)),
                                    TRY(cached(key.type, kv * kPositions)),
                                    kPositions,
                                    TRY(floats(key.num_heads * kPositions)),
                                    kPositions,
                                    kv * size_of(key.type)};
            flops = 4.0 * kPositions * static_cast<double>(q);
            return {};
        }
        case Operation::kArgmax:
            arguments_.argmax = {TRY(index()), TRY(floats(key.n))};
            flops = n;
            return {};
        case Operation::kSoftmax:
            arguments_.softmax = {TRY(floats(key.n))};
            flops = 4 * n;
            return {};
        case Operation::kQuantise:
        case Operation::kQuantiseWords:
            arguments_.quantise = {TRY(floats(key.n / kGroup * sizeof(Q8Group) / sizeof(float))),
                                   TRY(floats(key.n))};
            flops = 4 * n;
            return {};
    }
    return invalid("--run has no operands for {}", name_of(key.operation));
}

struct Times {
    double median, low, high;  ///< ns; the middle four fifths of all samples lie from low to high
    size_t samples;
};

Times time_calls(Routine routine, const void* arguments) {
    constexpr uint64_t kLongEnough = 5'000, kBudget = 200'000'000;  // ns
    constexpr size_t kMostSamples = 2001, kFewestSamples = 5;
    HostClock clock;
    // So many calls a sample that the clock does not matter.
    uint64_t calls = 1;
    for (uint64_t took = 0; took < kLongEnough; calls *= 2) {
        const uint64_t began = clock.now_ns();
        for (uint64_t i = 0; i < calls; ++i) routine(arguments);
        took = clock.now_ns() - began;
        if (took >= kLongEnough) break;
    }
    std::vector<double> samples;
    const uint64_t start = clock.now_ns();
    while (samples.size() < kFewestSamples ||
           (samples.size() < kMostSamples && clock.now_ns() - start < kBudget)) {
        const uint64_t began = clock.now_ns();
        for (uint64_t i = 0; i < calls; ++i) routine(arguments);
        samples.push_back(static_cast<double>(clock.now_ns() - began) / static_cast<double>(calls));
    }
    std::sort(samples.begin(), samples.end());
    const size_t count = samples.size();
    return {samples[count / 2], samples[count / 10], samples[count - 1 - count / 10], count};
}

}  // namespace

Result<void> run_routine(const EmittedRoutine& routine, std::ostream& out) {
    const CpuFeatures cpu = cpu_detect_features(HostCpuid());
    const RoutineKey& key = routine.key;
    if (!runs_on(cpu, key.isa, key.numerics)) {
        return Error::make(ErrorCode::kUnsupported,
                           "{}: this CPU cannot run {} with {}; --isa {} is what it has", routine.name(),
                           name_of(key.isa), name_of(key.numerics), name_of(best_isa(cpu, key.numerics)));
    }
    Operators* reference = TRY(reference_operators(key.numerics, cpu));
    const CodePage code = TRY(CodePage::make(routine.code));
    Operands operands = TRY(Operands::make(key));
    SignalGuard guard;
    StdAllocator allocator;
    HostClock clock;
    ReferenceProbe probe(*reference, guard, allocator, clock);
    Result<ProbeTimes> checked = probe.check(key, code.routine(), operands.arguments());
    if (!checked) return invalid("{}: {}", routine.name(), checked.error().message());
    const Times times = time_calls(code.routine(), operands.arguments());
    constexpr double kNsPerUs = 1000;
    out << FixedString<300>::formatted(
               "{}: agrees with the reference; {:.3} us a call ({:.3} to {:.3} in four fifths of {} "
               "samples), "
               "{:.2} GFLOP/s, {:.2} GB/s\n",
               routine.name(), times.median / kNsPerUs, times.low / kNsPerUs, times.high / kNsPerUs,
               times.samples, operands.flops / times.median, operands.bytes / times.median)
               .view();
    return {};
}

}  // namespace bareflow
