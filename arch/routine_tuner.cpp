#include "arch/routine_tuner.h"

#include <algorithm>

#include "arch/base/sort.h"
#include "emitter/routine_emitter.h"

namespace bareflow {
namespace {

using State = RoutineCache::Entry::State;

constexpr TuningMachine kMachine{.complete = complete_plan};

/// The key with fewer outputs, where its weights are more than a trial should read in one call.
RoutineKey timed_key(const RoutineKey& key) {
    RoutineKey timed = key;
    if (key.operation == Operation::kQkv || weight_bytes(key) <= TunedShape::kMostBytes) return timed;
    const uint64_t panel = weight_bytes(key) / key.n * kPanelRows;
    timed.n = static_cast<uint32_t>(std::max<uint64_t>(1, TunedShape::kMostBytes / panel) * kPanelRows);
    return timed;
}

/// Tokens first: their routines run for each, a block's once for many. Then by work.
bool is_hotter(const TunedShape& a, const TunedShape& b) {
    if ((a.key.m == 1) != (b.key.m == 1)) return a.key.m == 1;
    return a.calls * multiply_adds(a.key) > b.calls * multiply_adds(b.key);
}

}  // namespace

Result<void> RoutineTuner::initialise() {
    shapes_ = TRY(Buffer<TunedShape>::make(allocator_, kMaxShapes, "tuner's shapes"));
    table_ = TRY(TuningTable::make(allocator_));
    return {};
}

// ---- shapes
void RoutineTuner::begin_meeting() {
    drop_trial();
    for (TunedShape& shape : shapes_) shape.calls = shape.count = 0;
}

TunedShape* RoutineTuner::shape_of(const RoutineKey& key) {
    for (size_t i = 0; i < shape_count_; ++i) {
        if (shapes_[i].key == key) return &shapes_[i];
    }
    if (shape_count_ == kMaxShapes) return nullptr;
    TunedShape& shape = shapes_[shape_count_++];
    shape = {};
    shape.key = key;
    shape.timed = timed_key(key);
    return &shape;
}

void RoutineTuner::visit(const RoutineKey& key, const void* arguments) {
    const RoutineCache::Entry* entry = cache_.entry_of(key);
    const bool made =
        entry != nullptr && (entry->state == State::kInstalled || entry->state == State::kSlower);
    if (!made || summed_outputs(key) == 0) return;
    TunedShape* shape = shape_of(key);
    if (shape == nullptr) return;
    ++shape->calls;
    add_weights(*shape, arguments);
}

void RoutineTuner::add_weights(TunedShape& shape, const void* arguments) {
    WeightSet set = WeightSet::of(shape.key, arguments);
    for (uint32_t i = 0; i < shape.count; ++i) {
        if (shape.sets[i] == set) return;
    }
    const uint64_t row = row_bytes(shape.key.type, shape.key.k);
    for (uint32_t first = 0; first + shape.timed.n <= shape.key.n && shape.count < TunedShape::kMostSets;
         first += shape.timed.n) {
        shape.sets[shape.count++] = set;
        for (unsigned i = 0; i < matrices_of(shape.key); ++i)
            set.matrix[i] = static_cast<const uint8_t*>(set.matrix[i]) + shape.timed.n * row;
    }
}

uint32_t RoutineTuner::count_untried(const TunedShape& shape) const {
    const PlanSpace space(shape.key, shape.bytes(), kMachine);
    return static_cast<uint32_t>(table_.untried(shape.key, space));
}

void RoutineTuner::end_meeting() {
    sort(std::span(shapes_.data(), shape_count_), is_hotter);
    for (size_t i = 0; i < shape_count_; ++i)
        shapes_[i].untried = shapes_[i].count == 0 ? 0 : count_untried(shapes_[i]);
}

uint32_t RoutineTuner::left() const {
    uint32_t left = 0;
    for (const TunedShape& shape : shapes()) left += shape.untried;
    return left;
}

// ---- trials
bool RoutineTuner::step() {
    if (shape_ == nullptr) return begin_trial();
    sample_pair();
    return true;
}

bool RoutineTuner::begin_trial() {
    for (size_t i = 0; i < shape_count_ && !table_.full(); ++i) {
        TunedShape& shape = shapes_[i];
        const RoutineCache::Entry* entry = cache_.entry_of(shape.key);
        if (shape.untried == 0 || entry == nullptr) continue;
        if (entry->state != State::kInstalled && entry->state != State::kSlower) continue;
        Result<void> begun = begin_trial(shape, *entry);
        if (begun) return true;
        LogRecord(log_, "tune_skipped")
            .field("key", name_of(shape.key).view())
            .field("reason", begun.error().message());
        drop_trial();
        shape.untried = 0;
    }
    return false;
}

/// Gets everything ready for samples; or if the plan is none, has recorded that.
Result<void> RoutineTuner::begin_trial(TunedShape& shape, const RoutineCache::Entry& entry) {
    shape_ = &shape;
    call_.emplace(TRY(ScratchCall::make(shape.timed, allocator_)));
    incumbent_ = entry.code;
    incumbent_plan_ = entry.plan;
    next_set_ = 0;
    if (entry.state == State::kInstalled && !(shape.timed == shape.key)) {
        stand_in_.emplace(
            TRY(cache_.make_candidate(shape.timed, entry.plan, call_->arguments(shape.sets[0]))));
        incumbent_ = stand_in_->code;
    }
    const PlanRecord* baseline = table_.baseline(shape.key);
    uint64_t ns = baseline == nullptr ? 0 : baseline->median_ns;
    if (entry.state == State::kInstalled && ns == 0) {
        call_->time(incumbent_, shape.weights(), 0, 1, clock_);  // its code comes into the cache
        ns = call_->time(incumbent_, shape.weights(), 1, 1, clock_);
    }
    trial_ = PlanTrial(std::clamp<uint64_t>(kSampleNs / std::max<uint64_t>(1, ns), 1, 1000));
    if (entry.state == State::kInstalled && baseline == nullptr) return {};
    if (!begin_candidate(shape, entry)) drop_trial();
    return {};
}

/// False if the next plan was decided without samples, or there is none.
bool RoutineTuner::begin_candidate(TunedShape& shape, const RoutineCache::Entry& entry) {
    const PlanSpace space(shape.key, shape.bytes(), kMachine);
    const Plan* plan = table_.next_untried(shape.key, space);
    shape.untried = static_cast<uint32_t>(table_.untried(shape.key, space));
    if (plan == nullptr) return false;
    Result<RoutineCache::Candidate> made =
        cache_.make_candidate(shape.timed, *plan, call_->arguments(shape.sets[0]));
    if (!made) {
        record(*plan, {}, PlanVerdict::kRejected, made.error().message());
        return false;
    }
    candidate_.emplace(made.take());
    if (entry.state == State::kInstalled) return true;
    judge_against_reference(*candidate_);
    return false;
}

/// Where the reference is faster than the routine was, the probe's times decide: both were taken on the same data.
void RoutineTuner::judge_against_reference(const RoutineCache::Candidate& candidate) {
    constexpr double kMargin = 0.05;
    const auto routine = static_cast<double>(candidate.times.routine_ns),
               reference = static_cast<double>(candidate.times.reference_ns);
    PlanTrial::Result result{.incumbent_ns = reference,
                             .candidate_ns = routine,
                             .gain_ns = reference - routine,
                             .wins = routine < reference * (1 - kMargin)};
    const Plan plan = candidate.plan;
    const bool taken = result.wins && take_over();
    record(plan, result,
           taken         ? PlanVerdict::kBetter
           : result.wins ? PlanVerdict::kRejected
                         : PlanVerdict::kWorse);
}

void RoutineTuner::sample_pair() {
    const RoutineCache::Entry* entry = cache_.entry_of(shape_->key);
    const bool same = entry != nullptr && entry->state == State::kInstalled &&
                      entry->plan == incumbent_plan_ && (stand_in_ || entry->code == incumbent_);
    if (!same) return drop_trial();  // it had to make room meanwhile
    const uint64_t calls = trial_.calls(), first = next_set_;
    next_set_ += calls;
    // Who comes first finds the weights colder, so they take turns in that too.
    const auto of_incumbent = [&] {
        return call_->time(incumbent_, shape_->weights(), first, calls, clock_);
    };
    const auto of_other = [&] {
        return candidate_ ? call_->time(candidate_->code, shape_->weights(), first, calls, clock_)
                          : call_->time_plain_loads(shape_->weights(), first, calls, clock_);
    };
    uint64_t incumbent_ns, other_ns;
    if (trial_.pairs() % 2 == 0) {
        incumbent_ns = of_incumbent();
        other_ns = of_other();
    } else {
        other_ns = of_other();
        incumbent_ns = of_incumbent();
    }
    trial_.add(incumbent_ns, other_ns);
    if (!candidate_) {
        if (trial_.pairs() == PlanTrial::kFewestPairs) conclude_baseline();
    } else if (trial_.done()) {
        conclude();
    }
}

void RoutineTuner::conclude_baseline() {
    PlanTrial::Result result = trial_.result();
    const bool at_limit =
        is_at_limit(shape_->timed, result.incumbent_ns, result.candidate_ns, shape_->bytes(), kMachine);
    result.candidate_ns = result.incumbent_ns;
    result.gain_ns = 0;
    record(incumbent_plan_, result, at_limit ? PlanVerdict::kAtLimit : PlanVerdict::kBaseline);
    drop_trial();
}

void RoutineTuner::conclude() {
    const PlanTrial::Result result = trial_.result();
    if (result.wins && !wins_again_) {  // a neighbour of this machine may have come or gone meanwhile
        wins_again_ = true;
        trial_ = PlanTrial(trial_.calls());
        return;
    }
    const Plan plan = candidate_->plan;
    const bool taken = result.wins && take_over();
    record(plan, result,
           taken         ? PlanVerdict::kBetter
           : result.wins ? PlanVerdict::kRejected
                         : PlanVerdict::kWorse);
    drop_trial();
}

bool RoutineTuner::take_over() {
    if (shape_->timed == shape_->key) {
        cache_.install(*candidate_);
        candidate_.reset();
        return true;
    }
    // Weights of the whole shape begin where those of its first piece do.
    ScratchCall* call = &*call_;
    const Plan plan = candidate_->plan;
    Result<RoutineCache::Candidate> whole =
        cache_.make_candidate(shape_->key, plan, call->arguments(shape_->sets[0]));
    if (!whole) return false;
    cache_.install(whole.value());
    return true;
}

void RoutineTuner::record(const Plan& plan, const PlanTrial::Result& result, PlanVerdict verdict,
                          std::string_view why) {
    const bool is_trial = verdict != PlanVerdict::kBaseline && verdict != PlanVerdict::kAtLimit;
    table_.add({.key = shape_->key,
                .plan = plan,
                .median_ns = static_cast<uint32_t>(result.candidate_ns),
                .spread_ns = static_cast<uint32_t>(result.spread_ns),
                .incumbent_ns = static_cast<uint32_t>(result.incumbent_ns),
                .verdict = verdict});
    counts_.tried += is_trial ? 1 : 0;
    counts_.improved += verdict == PlanVerdict::kBetter ? 1 : 0;
    counts_.rejected += verdict == PlanVerdict::kRejected ? 1 : 0;
    shape_->untried = count_untried(*shape_);
    LogRecord line(log_, "plan");
    line.field("key", name_of(shape_->key).view())
        .field("plan", name_of(plan).view())
        .field("verdict", name_of(verdict))
        .field("ns", static_cast<uint64_t>(result.candidate_ns))
        .field("incumbent_ns", static_cast<uint64_t>(result.incumbent_ns))
        .field("spread_ns", static_cast<uint64_t>(result.spread_ns))
        .field("gain", result.gain() * 100);
    if (!why.empty()) line.field("reason", why);
}

void RoutineTuner::drop(std::optional<RoutineCache::Candidate>& candidate) {
    if (candidate) cache_.discard(*candidate);
    candidate.reset();
}

void RoutineTuner::drop_trial() {
    drop(candidate_);
    drop(stand_in_);
    call_.reset();
    wins_again_ = false;
    shape_ = nullptr;
}

}  // namespace bareflow
