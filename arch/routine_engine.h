// The operators that the options ask for: the scalar reference, or emitted routines over it.
#pragma once

#include <optional>

#include "arch/base/options.h"
#include "arch/platform.h"
#include "arch/profiled_operators.h"
#include "arch/routine_operators.h"
#include "arch/routine_probe.h"
#include "arch/routine_tuner.h"
#include "model/session.h"

namespace bareflow {

class RoutineEngine {
 public:
    RoutineEngine() = default;
    RoutineEngine(const RoutineEngine&) = delete;
    ~RoutineEngine();

    /// Chooses numeric class and instructions, and logs both. An error if the options ask for what the CPU has
    /// not; where there is no room for code, the reference runs.
    /// The operators live as long as the engine.
    Result<Operators*> start(Platform& platform, const Options& options);

    /// What an earlier boot decided on for quantised weights, and need not be found out again. Where this boot could not have
    /// decided so, it decides itself. With a cache; before prepare().
    void restore_quantised_isa(Isa isa);
    /// An earlier boot rejected the key's routine.
    void restore_rejection(const RoutineKey& key) { operators_->was_rejected(key); }
    /// With a cache.
    RoutineIsas isas() const { return operators_->isas(); }
    NumericClass numeric_class() const { return operators_->numeric_class(); }

    /// Makes what one token of the session's model needs, with the best-known plans, before anybody waits for it. Logs how
    /// many routines there are then, and the time.
    void prepare(Session& session);

    /// Tells the tuner the shapes of the session's model, those of them that have routines by now. With one.
    void meet_shapes(Session& session);
    /// nullptr when nothing is emitted, or there was no room.
    RoutineTuner* tuner() { return tuner_ ? &*tuner_ : nullptr; }

    /// nullptr when nothing is emitted.
    RoutineCache* cache() { return cache_ ? &*cache_ : nullptr; }
    const RoutineCache* cache() const { return cache_ ? &*cache_ : nullptr; }
    /// nullptr before start().
    const Profiler* profiler() const { return profiler_ ? &*profiler_ : nullptr; }

 private:
    /// Room for code: some 200 routines of a page each; TinyLlama needs about 10.
    static constexpr size_t kCodeBytes = 1 << 20;

    Result<void> make_room(Platform& platform);
    /// The reference, or routines over it.
    Result<Operators*> choose(Platform& platform, const Options& options);
    /// Q8_0 on AVX2: products of bytes, or of words where they are much quicker. By the model's first weights and the clock.
    void choose_byte_products(Session& session);
    /// Nanoseconds of a routine for the first 16 outputs of w; nothing if it cannot be had.
    std::optional<uint64_t> time_one_panel(const TensorView& w, Isa isa);
    Operators* share_reference(Operators& reference, Workers* workers);

    /// Shows the calls of a block of `rows` tokens to `visitor`, as operators_ would share them out.
    void show_calls(Session& session, uint32_t rows, RoutineVisitor& visitor);

    Platform* platform_ = nullptr;
    Workers* workers_ = nullptr;
    bool knows_quantised_isa_ = false;
    std::optional<ReferenceProbe> probe_;
    std::optional<RoutineCache> cache_;
    std::optional<RoutineOperators> operators_;
    std::optional<RoutineTuner> tuner_;
    std::optional<Profiler> profiler_;
    std::optional<ProfiledOperators> profiled_;
};

}  // namespace bareflow
