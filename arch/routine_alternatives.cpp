#include "arch/routine_alternatives.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "arch/base/sort.h"
#include "arch/routine_probe.h"
#include "emitter/routine_emitter.h"
#include "model/reference.h"

namespace bareflow {
namespace {

constexpr size_t kRounds = 9, kTypes = std::size(kElementTypes), kClasses = std::size(kNumericClasses);

/// Weights of any type whose values are ordinary: bit patterns of finite, normal numbers.
class WeightBits {
 public:
    static void fill(ElementType type, std::span<uint8_t> bytes) {
        constexpr uint16_t kHalf = 0x2C00, kHalfSpread = 0x83FF;            // +-0.06 to 0.12
        constexpr uint32_t kFloat = 0x3D800000, kFloatSpread = 0x807FFFFF;  // the same
        WeightBits bits;
        switch (type) {
            case ElementType::kF32:
                return bits.fill_words<uint32_t>(bytes, kFloat, kFloatSpread);
            case ElementType::kF16:
                return bits.fill_words<uint16_t>(bytes, kHalf, kHalfSpread);
            case ElementType::kQ8_0:
                return bits.fill_panels<Q8Panel>(bytes);
            case ElementType::kQ4_0:
                return bits.fill_panels<Q4Panel>(bytes);
        }
    }

 private:
    uint32_t next() { return state_ = state_ * 1664525 + 1013904223; }  // Numerical Recipes' generator
    template <typename Word>
    void fill_words(std::span<uint8_t> bytes, Word base, Word spread) {
        for (size_t i = 0; i + sizeof(Word) <= bytes.size(); i += sizeof(Word)) {
            const Word word = base | (static_cast<Word>(next() >> 3) & spread);
            __builtin_memcpy(bytes.data() + i, &word, sizeof word);
        }
    }
    template <typename Panel>
    void fill_panels(std::span<uint8_t> bytes) {
        constexpr uint16_t kScale = 0x2000;  // a binary16 of 2^-7
        for (size_t i = 0; i + sizeof(Panel) <= bytes.size(); i += sizeof(Panel)) {
            Panel panel;
            for (uint16_t& scale : panel.scales) scale = kScale;
            auto* values = reinterpret_cast<uint8_t*>(panel.values);
            for (size_t k = 0; k < sizeof panel.values; ++k) {
                const auto value = static_cast<uint8_t>(next() >> 24);
                values[k] = value == 0x80 ? 0 : value;  // -128 is no value of Q8_0
            }
            __builtin_memcpy(bytes.data() + i, &panel, sizeof panel);
        }
    }
    uint32_t state_ = 1;
};

/// One class and type, made and ready to be timed.
struct Alternative {
    Buffer<uint8_t> weights;
    std::optional<ScratchCall> call;
    std::optional<RoutineCache::Candidate> routine;
    double samples[kRounds] = {};
    double ns = 0;  ///< median; 0: there is no such routine
};

class Comparison {
 public:
    Comparison(Platform& platform, RoutineCache& cache, const RoutineKey& hottest)
        : platform_(platform), cache_(cache), hottest_(hottest) {
        // y = W x of as many outputs as the shape has in all: what differs is the arithmetic and the bytes.
        const uint64_t most = std::max<uint64_t>(1, kMostWeights / hottest.k / kPanelRows) * kPanelRows;
        outputs_ = static_cast<uint32_t>(std::min(summed_outputs(hottest), most));
    }
    ~Comparison() {
        for (auto& of_class : all_) {
            for (Alternative& each : of_class) {
                if (each.routine) cache_.discard(*each.routine);
            }
        }
    }
    void measure();
    void tell(TextListener& out) const;

 private:
    Result<void> prepare(Alternative& alternative, NumericClass numerics, ElementType type);
    void sample(Alternative& alternative, size_t round);
    double ns_of(NumericClass numerics, ElementType type) const {
        return all_[static_cast<size_t>(numerics)][static_cast<size_t>(type)].ns;
    }
    double now() const { return ns_of(hottest_.numerics, hottest_.type); }

    Platform& platform_;
    RoutineCache& cache_;
    const RoutineKey hottest_;
    uint32_t outputs_;
    Alternative all_[kClasses][kTypes];
};

Result<void> Comparison::prepare(Alternative& alternative, NumericClass numerics, ElementType type) {
    const CpuFeatures& cpu = platform_.cpu();
    const Isa floats = best_isa(cpu, numerics);
    // As it runs now, where it does: the engine may have measured that words are quicker, or given VNNI up.
    const Isa quantised = is_quantised(hottest_.type) && has_vex(hottest_.isa) == has_vex(floats)
                              ? hottest_.isa
                              : best_quantised_isa(cpu, floats, numerics);
    const RoutineKey key = {.operation = Operation::kProject,
                            .numerics = numerics,
                            .isa = is_quantised(type) ? quantised : floats,
                            .type = type,
                            .layout = Layout::kPanels16,
                            .n = outputs_,
                            .k = hottest_.k};
    if (!can_emit(key)) return invalid("no routine");
    Operators* reference = TRY(reference_operators(numerics, cpu));
    ReferenceProbe probe(*reference, platform_.fault_guard(), platform_.allocator(), platform_.clock());
    const TensorView w{nullptr, key.n, key.k, type, key.layout};
    alternative.weights = TRY(Buffer<uint8_t>::make(platform_.allocator(), w.bytes(), "weights to compare"));
    WeightBits::fill(type, alternative.weights.span());
    alternative.call.emplace(TRY(ScratchCall::make(key, platform_.allocator())));
    const void* arguments = alternative.call->arguments({{alternative.weights.data()}});
    alternative.routine.emplace(TRY(cache_.make_candidate(key, default_plan(key), arguments, probe)));
    return {};
}

void Comparison::sample(Alternative& alternative, size_t round) {
    constexpr uint64_t kSampleNs = 20'000;
    Clock& clock = platform_.clock();
    const RoutineCache::Candidate& routine = *alternative.routine;
    const uint64_t calls =
        std::clamp<uint64_t>(kSampleNs / std::max<uint64_t>(1, routine.times.routine_ns), 1, 100);
    const WeightSet weights[] = {{{alternative.weights.data()}}};
    const uint64_t ns = alternative.call->time(routine.code, weights, 0, calls, clock);
    alternative.samples[round] = static_cast<double>(ns) / static_cast<double>(calls);
}

void Comparison::measure() {
    for (const NumericClass numerics : kNumericClasses) {
        for (const ElementType type : kElementTypes) {
            Alternative& each = all_[static_cast<size_t>(numerics)][static_cast<size_t>(type)];
            static_cast<void>(prepare(each, numerics, type));  // what there is no routine of has no figure
        }
    }
    // Each round begins elsewhere: a neighbour of this machine that comes and goes must not meet the same one each time.
    constexpr size_t kAll = kClasses * kTypes, kShift = 3;
    for (size_t round = 0; round < kRounds; ++round) {
        for (size_t i = 0; i < kAll; ++i) {
            const size_t number = (i + round * kShift) % kAll;
            Alternative& each = all_[number / kTypes][number % kTypes];
            if (each.routine) sample(each, round);
        }
    }
    for (auto& of_class : all_) {
        for (Alternative& each : of_class) {
            sort(std::span(each.samples, kRounds), std::less());
            if (each.routine) each.ns = each.samples[kRounds / 2];
        }
    }
}

void Comparison::tell(TextListener& out) const {
    using Line = FixedString<200>;
    out.text(
        Line::formatted("\nYours to choose, for they change the numbers: a {}x{} matrix here, in us "
                        "(times as fast as {} {}, which runs now)\n{:<10}",
                        outputs_, hottest_.k, name_of(hottest_.numerics), name_of(hottest_.type), ""));
    for (const ElementType type : kElementTypes) out.text(Line::formatted("{:>20}", name_of(type)));
    for (const NumericClass numerics : kNumericClasses) {
        out.text(Line::formatted("\n  {:<8}", name_of(numerics)));
        for (const ElementType type : kElementTypes) {
            const double ns = ns_of(numerics, type);
            if (ns == 0) {
                out.text(Line::formatted("{:>20}", "-"));
                continue;
            }
            const double ratio = now() / ns;
            out.text(Line::formatted("{:>11.2} ({:>5.2}x)", ns * 1e-3, ratio));
            LogRecord(platform_.log(), "alternative")
                .field("numerics", name_of(numerics))
                .field("type", name_of(type))
                .field("n", outputs_)
                .field("k", hottest_.k)
                .field("ns", static_cast<uint64_t>(ns))
                .field("ratio", ratio);
        }
    }
    out.text("\n");
    constexpr double kWorthSaying = 1.05;
    const auto say = [&](double slower, double faster, std::string_view what, std::string_view how) {
        if (slower == 0 || faster == 0 || slower / faster < kWorthSaying) return;
        out.text(Line::formatted("{}: {:.2} times as fast, by {}\n", what, slower / faster, how));
    };
    for (const ElementType type : {ElementType::kF32, ElementType::kF16}) {
        const double fma = ns_of(NumericClass::kFma, type), muladd = ns_of(NumericClass::kMulAdd, type);
        say(fma, muladd, FixedString<40>::formatted("muladd beats fma with {}", name_of(type)),
            "--numerics muladd");
        say(muladd, fma, FixedString<40>::formatted("fma beats muladd with {}", name_of(type)),
            "--numerics fma");
    }
    const double floats = is_quantised(hottest_.type) ? ns_of(hottest_.numerics, ElementType::kF32) : now();
    for (const ElementType type : {ElementType::kQ8_0, ElementType::kQ4_0}) {
        say(floats, ns_of(hottest_.numerics, type),
            FixedString<40>::formatted("integers beat floats with {}", name_of(type)),
            FixedString<40>::formatted("a model imported with --quant {}", name_of(type)));
    }
}

}  // namespace

void report_alternatives(Platform& platform, RoutineCache& cache, std::span<const TunedShape> shapes,
                         TextListener& out) {
    if (shapes.empty()) return;
    Comparison comparison(platform, cache, shapes[0].key);
    comparison.measure();
    comparison.tell(out);
}

}  // namespace bareflow
