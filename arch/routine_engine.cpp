#include "arch/routine_engine.h"

#include <algorithm>

#include "arch/routine_choice.h"
#include "arch/routine_trial.h"
#include "emitter/routine_emitter.h"
#include "model/reference.h"

namespace bareflow {
namespace {

Result<Isa> choose_isa(const Options& options, const CpuFeatures& cpu, NumericClass numerics) {
    if (!options.jit || options.isa == IsaChoice::kScalar) return Isa::kScalar;
    if (options.isa == IsaChoice::kAuto) return best_isa(cpu, numerics);
    const Isa isa = options.isa == IsaChoice::kSse2    ? Isa::kSse2
                    : options.isa == IsaChoice::kSsse3 ? Isa::kSsse3
                    : options.isa == IsaChoice::kAvx2  ? Isa::kAvx2
                                                       : Isa::kAvx512;
    if (!runs_on(cpu, isa, numerics)) {
        return Error::make(ErrorCode::kUnsupported,
                           "isa: this CPU cannot run {} routines with {} numerics; it has {}", name_of(isa),
                           name_of(numerics), name_of(best_isa(cpu, numerics)));
    }
    return isa == Isa::kSsse3 ? Isa::kSse2 : isa;
}

/// What is named is not exceeded: only auto takes AVX-VNNI, and only ssse3 or better pmaddubsw.
Isa choose_quantised_isa(const Options& options, const CpuFeatures& cpu, Isa floats, NumericClass numerics) {
    if (options.isa == IsaChoice::kSse2 || options.isa == IsaChoice::kAvx2) return floats;
    return best_quantised_isa(cpu, floats, numerics);
}

/// The one that is asked for, if this image has it: a machine that turned itself small keeps its options.
RoutineMaker& choose_maker(AssemblerChoice choice) {
    const std::span<RoutineMaker* const> makers = image_makers();
    for (RoutineMaker* const maker : makers) {
        if (maker->name() == name_of(choice)) return *maker;
    }
    return *makers.front();
}

/// Makes the routine of each call that is shown; `operators` hear of those that were rejected.
class Maker final : public RoutineVisitor {
 public:
    Maker(RoutineCache& cache, RoutineOperators& operators) : cache_(cache), operators_(operators) {}
    bool has_routine(const RoutineKey& key) const override { return can_emit(key); }
    void visit(const RoutineKey& key, const void* arguments) override {
        const uint32_t rejected = cache_.counts().rejected;
        cache_.find_or_make(key, cache_.best_plan(key), arguments);
        if (cache_.counts().rejected != rejected) operators_.was_rejected(key);
    }

 private:
    RoutineCache& cache_;
    RoutineOperators& operators_;
};

}  // namespace

RoutineEngine::~RoutineEngine() {
    if (platform_ != nullptr) platform_->set_code_directory(nullptr);
}

Result<void> RoutineEngine::make_room(Platform& platform) {
    const std::span<uint8_t> region = TRY(platform.code_region(kCodeBytes));
    return cache_->initialise(region, platform.code_pages(), platform.allocator());
}

Operators* RoutineEngine::share_reference(Operators& reference, Workers* workers) {
    if (workers == nullptr) return &reference;
    return &operators_.emplace(reference, workers);
}

Result<Operators*> RoutineEngine::start(Platform& platform, const Options& options) {
    Operators* operators = TRY(choose(platform, options));
    profiler_.emplace(TRY(Profiler::make(platform.allocator())));
    profiled_.emplace(*operators, *profiler_);
    return static_cast<Operators*>(&*profiled_);
}

Result<Operators*> RoutineEngine::choose(Platform& platform, const Options& options) {
    const CpuFeatures& cpu = platform.cpu();
    const NumericClass numerics = choose_numerics(options, cpu);
    Operators* reference = TRY(reference_operators(numerics, cpu));
    const Isa isa = TRY(choose_isa(options, cpu, numerics));
    const Isa quantised = choose_quantised_isa(options, cpu, isa, numerics);
    RoutineMaker& maker = choose_maker(options.assembler);
    LogRecord(platform.log(), "path")
        .field("isa", name_of(isa))
        .field("quantised_isa", name_of(quantised))
        .field("numerics", name_of(numerics))
        .field("assembler", isa == Isa::kScalar ? "none" : maker.name());
    Workers* workers = workers_ = start_cores(platform, options.threads);
    if (isa == Isa::kScalar) return share_reference(*reference, workers);

    probe_.emplace(*reference, platform.fault_guard(), platform.allocator(), platform.clock());
    cache_.emplace(maker, *probe_, platform.log());
    if (Result<void> ready = make_room(platform); !ready) {
        LogRecord(platform.log(), "routines_off").field("reason", ready.error().message());
        cache_.reset();
        return share_reference(*reference, workers);
    }
    platform.set_code_directory(&*cache_);
    platform_ = &platform;
    operators_.emplace(*cache_, *reference, RoutineIsas(isa, quantised), platform.allocator(), workers);
    tuner_.emplace(*cache_, platform.log(), platform.clock(), platform.allocator());
    if (tuner_->initialise()) {
        cache_->set_plan_source(&*tuner_);
    } else {
        tuner_.reset();
    }
    return static_cast<Operators*>(&*operators_);
}

void RoutineEngine::prepare(Session& session) {
    if (!cache_) return;
    const uint64_t began = platform_->clock().now_ns();
    choose_byte_products(session);
    Maker maker(*cache_, *operators_);
    const Isa quantised = operators_->isas().quantised;
    show_calls(session, 1, maker);
    if (operators_->isas().quantised != quantised) show_calls(session, 1, maker);
    LogRecord(platform_->log(), "prepared")
        .field("routines", cache_->counts().compiled)
        .field("ms", TokenTiming{1, platform_->clock().now_ns() - began}.milliseconds());
}

void RoutineEngine::restore_quantised_isa(Isa isa) {
    const RoutineIsas isas = operators_->isas();
    const bool is_words = isas.quantised == Isa::kAvx2 && isa == Isa::kAvx2Words;
    knows_quantised_isa_ = is_words || isa == isas.quantised || isa == isas.floats;
    if (knows_quantised_isa_) operators_->use_for_quantised(isa);
}

void RoutineEngine::choose_byte_products(Session& session) {
    if (knows_quantised_isa_) return;
    TensorView w = session.weights().layers[0].query;
    if (!is_quantised(w.type) || operators_->isas().quantised != Isa::kAvx2) return;
    // Of streamed weights there are none yet; any will do.
    Result<Buffer<Q8Panel>> zeroes =
        Buffer<Q8Panel>::make(platform_->allocator(), w.columns / kGroup, "one panel of weights");
    if (!zeroes) return;
    if (w.data == nullptr) w.data = zeroes.value().data();
    const std::optional<uint64_t> bytes = time_one_panel(w, Isa::kAvx2),
                                  words = time_one_panel(w, Isa::kAvx2Words);
    if (!bytes || !words) return;
    LogRecord(platform_->log(), "byte_products").field("bytes_ns", *bytes).field("words_ns", *words);
    // By a quarter, or not at all: what is made shall not depend on a moment's noise.
    if (*words * 5 < *bytes * 4) operators_->use_for_quantised(Isa::kAvx2Words);
}

std::optional<uint64_t> RoutineEngine::time_one_panel(const TensorView& w, Isa isa) {
    const RoutineKey key = {.operation = Operation::kProject,
                            .numerics = operators_->numeric_class(),
                            .isa = isa,
                            .type = w.type,
                            .layout = w.layout,
                            .n = kPanelRows,
                            .k = w.columns};
    Result<ScratchCall> call = ScratchCall::make(key, platform_->allocator());
    if (!call) return {};
    const WeightSet weights[] = {{{w.data}}};
    Result<RoutineCache::Candidate> made =
        cache_->make_candidate(key, default_plan(key), call.value().arguments(weights[0]));
    if (!made) return {};
    constexpr int kRounds = 5;
    constexpr uint64_t kCalls = 4;
    uint64_t least = UINT64_MAX;
    for (int round = 0; round < kRounds; ++round) {
        least = std::min(least, call.value().time(made.value().code, weights, 0, kCalls, platform_->clock()));
    }
    cache_->discard(made.value());
    return least / kCalls;
}

void RoutineEngine::meet_shapes(Session& session) {
    tuner_->meet_shapes([&](RoutineVisitor& visitor) {
        for (const uint32_t rows : {1u, Transformer::kSmallBlock, Transformer::kBlock})
            show_calls(session, rows, visitor);
    });
}

void RoutineEngine::show_calls(Session& session, uint32_t rows, RoutineVisitor& visitor) {
    NoOperators nothing(operators_->numeric_class());
    RoutineOperators shown(visitor, nothing, operators_->isas(), workers_);
    session.show_calls(shown, rows);
}

}  // namespace bareflow
