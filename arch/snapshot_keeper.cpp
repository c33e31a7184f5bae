#include "arch/snapshot_keeper.h"

#include <algorithm>

#include "arch/base/sort.h"
#include "arch/snapshot_summary.h"
#include "emitter/routine_emitter.h"
#include "persist/snapshot_writer.h"

namespace bareflow {
namespace {

using namespace snapshot;
using State = RoutineCache::Entry::State;

/// The table of routines has twice as many places: a snapshot leaves room for what it lacks.
constexpr uint32_t kMostRestored = kMaxRoutines / 2;

static_assert(static_cast<uint8_t>(PlanVerdict::kRejected) == kMaxVerdict);

PlanRecord record_of(const StoredPlan& plan) {
    return {.key = plan.key,
            .plan = plan.plan,
            .median_ns = plan.median_ns,
            .spread_ns = plan.spread_ns,
            .incumbent_ns = plan.incumbent_ns,
            .verdict = static_cast<PlanVerdict>(plan.verdict)};
}
StoredPlan stored(const PlanRecord& record) {
    return {.key = record.key,
            .plan = record.plan,
            .median_ns = record.median_ns,
            .spread_ns = record.spread_ns,
            .incumbent_ns = record.incumbent_ns,
            .verdict = static_cast<uint8_t>(record.verdict)};
}
StoredProfile stored(const MatMulProfile& profile) {
    return {.operation = profile.shape.operation,
            .phase = profile.phase,
            .type = profile.shape.type,
            .m = profile.shape.m,
            .n = profile.shape.n,
            .k = profile.shape.k,
            .call_count = profile.call_count,
            .timed_count = profile.timed_count,
            .timed_cycles = profile.timed_cycles,
            .min_cycles = profile.min_cycles,
            .max_cycles = profile.max_cycles};
}
bool same_shape(const StoredProfile& a, const StoredProfile& b) {
    return a.operation == b.operation && a.phase == b.phase && a.type == b.type && a.m == b.m && a.n == b.n &&
           a.k == b.k;
}
uint64_t saturated_sum(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

uint64_t needed_bits(const RoutineKey& key) { return feature_bits(needed_features(key.isa, key.numerics)); }

/// What a stored routine is called where it is refused.
FixedString<96> name_of_entry(const RoutineKey& key, std::string_view kind, uint32_t index) {
    return is_sound(key) ? name_of(key) : FixedString<96>::formatted("{} {}", kind, index);
}

SnapshotRefusal refusal_of(RoutineCache::Restored restored) {
    constexpr SnapshotRefusal kReasons[] = {SnapshotRefusal::kNone, SnapshotRefusal::kPlan,
                                            SnapshotRefusal::kCodeDiffers, SnapshotRefusal::kNoRoom};
    return kReasons[static_cast<size_t>(restored)];
}

double milliseconds(uint64_t ns) { return TokenTiming{1, ns}.milliseconds(); }

}  // namespace

bool is_shape_of(const ModelConfig& config, const RoutineKey& key) {
    const uint32_t query = config.query_size(),
                   widest_in = std::max({config.hidden_size, query, config.intermediate_size});
    const bool input = key.k == config.hidden_size || key.k == query || key.k == config.intermediate_size;
    const bool rows = key.m <= Transformer::kBlock;
    switch (key.operation) {
        case Operation::kProject:
            return input && rows && key.n <= std::max({widest_in, config.vocab_size});
        case Operation::kQkv:
            return key.k == config.hidden_size && key.n <= query && key.kv_n <= config.kv_size() &&
                   key.head_size == config.head_size;
        case Operation::kGateUp:
            return key.k == config.hidden_size && rows && key.n <= config.intermediate_size;
        case Operation::kRmsNorm:
            return key.n == config.hidden_size;
        case Operation::kAttention:
            return key.head_size == config.head_size && key.num_heads <= config.num_heads &&
                   key.num_kv_heads <= config.num_kv_heads;
        case Operation::kArgmax:
        case Operation::kSoftmax:
            return key.n <= config.vocab_size;
        case Operation::kQuantise:
        case Operation::kQuantiseWords:
            return key.n <= uint64_t{widest_in} * Transformer::kBlock;
    }
    return false;
}

// ---- at the beginning
SnapshotIdentity SnapshotKeeper::identity() const {
    const Weights& weights = session_.weights();
    SnapshotIdentity wanted{.emitter_version = kEmitterVersion,
                            .features = feature_bits(platform_.cpu()),
                            .numerics = engine_.numeric_class(),
                            .model_bytes = weights.file_size,
                            .model_crc32c = weights.hash};
    __builtin_memcpy(wanted.build.data(), platform_.build_id().data(), wanted.build.size());
    return wanted;
}

Result<void> SnapshotKeeper::make_room() {
    Allocator& allocator = platform_.allocator();
    history_ = TRY(Buffer<BootSummary>::make(allocator, kMaxBoots + 1, "history of boots"));
    boots_ = TRY(Buffer<StoredBoot>::make(allocator, kMaxBoots + 1, "history of boots"));
    profiles_ = TRY(Buffer<StoredProfile>::make(allocator, kMaxProfiles, "profile of all boots"));
    return {};
}

void SnapshotKeeper::restore() {
    FixedFile *const a = platform_.snapshot_slot(0), *const b = platform_.snapshot_slot(1);
    if ((a == nullptr && b == nullptr) || engine_.cache() == nullptr) return;
    LogSink& log = platform_.log();
    began_ns_ = platform_.clock().now_ns();
    if (platform_.build_id().size() != sizeof(BuildId)) {
        LogRecord(log, "snapshot").field("start", "off").field("reason", "this program has no build id");
        return;
    }
    if (Result<void> room = make_room(); !room) {
        LogRecord(log, "snapshot").field("start", "off").field("reason", room.error().message());
        return;
    }
    store_.emplace(a, b, log, platform_.allocator());
    const SnapshotView* view = store_->load(identity());
    if (view == nullptr) {
        LogRecord(log, "snapshot").field("start", "cold").field("reason", name_of(store_->why()));
    } else {
        begin(*view);
    }
    store_->release();
}

void SnapshotKeeper::begin(const SnapshotView& view) {
    if (Result<void> marked = store_->mark_started(); !marked) {
        LogRecord(platform_.log(), "snapshot_mark").field("reason", marked.error().message());
    }
    restore_history(view);
    restore_plans(view);
    restore_routines(view);
    LogRecord(platform_.log(), "snapshot")
        .field("start", "warm")
        .field("slot", FixedString<1>::formatted("{:c}", store_->slot_name()))
        .field("generation", view.header().generation)
        .field("written", view.header().timestamp)
        .field("bytes", view.header().payload_bytes)
        .field("routines", engine_.cache()->counts().restored)
        .field("plans", view.plans())
        .field("refused", store_->refusals().total())
        .field("ms", milliseconds(platform_.clock().now_ns() - began_ns_));
}

void SnapshotKeeper::restore_history(const SnapshotView& view) {
    totals_ = view.totals();
    for (uint32_t i = 0; i < view.boots(); ++i) {
        boots_[i] = view.boot(i);
        history_[i] = summary_of(boots_[i]);
    }
    history_size_ = view.boots();
    for (uint32_t i = 0; i < view.profiles(); ++i) {
        const StoredProfile profile = view.profile(i);
        const SnapshotRefusal refusal = view.check(profile);
        if (refusal == SnapshotRefusal::kNone) {
            add_profile(profile);
        } else {
            store_->refuse(refusal, FixedString<24>::formatted("profile {}", i));
        }
    }
}

void SnapshotKeeper::restore_plans(const SnapshotView& view) {
    RoutineTuner* const tuner = engine_.tuner();
    RoutineKey sound{};
    for (uint32_t i = 0; tuner != nullptr && i < view.plans(); ++i) {
        const StoredPlan plan = view.plan(i);
        SnapshotRefusal refusal = view.check(plan, sound);
        if (refusal == SnapshotRefusal::kNone && !is_shape_of(session_.weights().config, plan.key))
            refusal = SnapshotRefusal::kShape;
        if (refusal == SnapshotRefusal::kNone &&
            !(can_emit(plan.key) && complete_plan(plan.key, plan.plan) == plan.plan))
            refusal = SnapshotRefusal::kPlan;
        if (refusal == SnapshotRefusal::kNone) {
            const PlanRecord record = record_of(plan);
            tuner->restore({&record, 1});
            sound = plan.key;
        } else {
            store_->refuse(refusal, name_of_entry(plan.key, "plan", i));
        }
    }
}

SnapshotRefusal SnapshotKeeper::restore_routine(const SnapshotView& view, const StoredRoutine& routine) {
    using enum SnapshotRefusal;
    const RoutineKey& key = routine.key;
    if (const SnapshotRefusal refusal = view.check(routine, feature_bits(platform_.cpu())); refusal != kNone)
        return refusal;
    if (!is_shape_of(session_.weights().config, key)) return kShape;
    if (!runs_on(platform_.cpu(), key.isa, key.numerics)) return kFeatures;
    RoutineCache& cache = *engine_.cache();
    if (routine.state == RoutineState::kInstalled)
        return refusal_of(cache.restore(key, routine.plan, view.code(routine), routine.saved_ns));
    const bool is_slower = routine.state == RoutineState::kSlower;
    const SnapshotRefusal refusal = refusal_of(
        cache.restore_verdict(key, routine.plan, is_slower ? State::kSlower : State::kQuarantined));
    if (refusal == kNone && !is_slower) engine_.restore_rejection(key);
    return refusal;
}

void SnapshotKeeper::restore_routines(const SnapshotView& view) {
    engine_.restore_quantised_isa(view.header().quantised_isa);
    for (uint32_t i = 0; i < view.routines(); ++i) {
        const StoredRoutine routine = view.routine(i);
        const SnapshotRefusal refusal =
            i < kMostRestored ? restore_routine(view, routine) : SnapshotRefusal::kNoRoom;
        if (refusal != SnapshotRefusal::kNone)
            store_->refuse(refusal, name_of_entry(routine.key, "routine", i));
    }
}

/// To the row of the same shape, or as a row of its own; the coldest finds no room.
void SnapshotKeeper::add_profile(const StoredProfile& profile) {
    for (size_t i = 0; i < profile_count_; ++i) {
        StoredProfile& row = profiles_[i];
        if (!same_shape(row, profile)) continue;
        if (profile.timed_count != 0) {
            row.min_cycles =
                row.timed_count == 0 ? profile.min_cycles : std::min(row.min_cycles, profile.min_cycles);
            row.max_cycles = std::max(row.max_cycles, profile.max_cycles);
        }
        row.call_count = saturated_sum(row.call_count, profile.call_count);
        row.timed_count = saturated_sum(row.timed_count, profile.timed_count);
        row.timed_cycles = saturated_sum(row.timed_cycles, profile.timed_cycles);
        return;
    }
    if (profile_count_ < profiles_.size()) profiles_[profile_count_++] = profile;
}

// ---- at the end
void SnapshotKeeper::finish(bool went_well) {
    if (!store_) return;
    LogSink& log = platform_.log();
    Result<void> saved;
    if (went_well) {
        note_boot();
        saved = save();
        if (!saved) LogRecord(log, "snapshot_not_saved").field("reason", saved.error().message());
    }
    if (went_well && saved.ok()) return;  // what is saved has no mark yet
    if (Result<void> marked = store_->mark_finished(); !marked) {
        LogRecord(log, "snapshot_mark").field("reason", marked.error().message());
    }
}

/// Of the plans that there are for the model's shapes, how many were tried.
uint32_t SnapshotKeeper::explored_permille() const {
    const RoutineTuner* const tuner = engine_.tuner();
    if (tuner == nullptr) return 1000;
    uint64_t tried = 0;
    for (const TunedShape& shape : tuner->shapes()) tried += tuner->table().tried(shape.key);
    const uint64_t all = tried + tuner->left();
    return all == 0 ? 1000 : static_cast<uint32_t>(tried * 1000 / all);
}

void SnapshotKeeper::note_boot() {
    const RoutineCache::Counts& counts = engine_.cache()->counts();
    RoutineTuner* const tuner = engine_.tuner();
    if (tuner != nullptr) engine_.meet_shapes(session_);  // what was never tuned has plans left all the same
    const TokenTiming& timing = session_.statistics().evaluation;
    uint32_t installed = 0;
    for (const RoutineCache::Entry& entry : engine_.cache()->entries())
        installed += entry.state == State::kInstalled;
    const StoredBoot boot = {.boot = store_->boots() + 1,
                             .compiled = counts.compiled,
                             .restored = counts.restored,
                             .rejected = counts.rejected,
                             .plans_tried = tuner == nullptr ? 0 : tuner->counts().tried,
                             .plans_left = tuner == nullptr ? 0 : tuner->left(),
                             .explored_permille = explored_permille(),
                             .routines = installed,
                             .ns_per_token = timing.tokens == 0 ? 0 : timing.ns / timing.tokens};
    if (history_size_ == kMaxBoots) {
        std::copy(history_.begin() + 1, history_.begin() + kMaxBoots, history_.begin());
        std::copy(boots_.begin() + 1, boots_.begin() + kMaxBoots, boots_.begin());
        --history_size_;
    }
    boots_[history_size_] = boot;
    history_[history_size_++] = summary_of(boot);
    totals_.compiled += boot.compiled;
    totals_.restored += boot.restored;
    totals_.rejected += boot.rejected;
    totals_.plans_tried += boot.plans_tried;
    totals_.ns += timing.ns;
    totals_.tokens += timing.tokens;
    totals_.refused += store_->refusals().total();
    ++totals_.boots;
    LogRecord(platform_.log(), "boot")
        .field("boot", boot.boot)
        .field("restored", boot.restored)
        .field("compiled", boot.compiled)
        .field("rejected", boot.rejected)
        .field("plans_tried", boot.plans_tried)
        .field("explored", FixedString<8>::formatted("{}%", boot.explored_permille / 10))
        .field("plans_left", boot.plans_left)
        .field("routines", boot.routines)
        .field("ms_per_token", milliseconds(boot.ns_per_token))
        .field("refused", store_->refusals().total())
        .field("converged", has_converged(history()))
        .field("stage", name_of(platform_.stage()))
        .field("next_stage", name_of(next_stage(platform_.stage(), history())));
}

StoredRoutine SnapshotKeeper::stored(const RoutineCache::Entry& entry) const {
    StoredRoutine routine = {.key = entry.key,
                             .plan = entry.plan,
                             .required_features = needed_bits(entry.key),
                             .saved_ns = entry.saved_ns,
                             .state = entry.state == State::kInstalled ? RoutineState::kInstalled
                                      : entry.state == State::kSlower  ? RoutineState::kSlower
                                                                       : RoutineState::kQuarantined};
    const RoutineTuner* const tuner = engine_.tuner();
    const PlanRecord* const record = tuner == nullptr ? nullptr : tuner->table().find(entry.key, entry.plan);
    if (record != nullptr) {
        routine.median_ns = record->median_ns;
        routine.spread_ns = record->spread_ns;
    }
    return routine;
}

Result<void> SnapshotKeeper::save() {
    const uint64_t began = platform_.clock().now_ns();
    Allocator& allocator = platform_.allocator();
    const RoutineCache& cache = *engine_.cache();
    // The most called first: should there ever be too many, those that nobody needs any more find no room.
    Buffer<const RoutineCache::Entry*> kept =
        TRY(Buffer<const RoutineCache::Entry*>::make(allocator, cache.entries().size(), "snapshot"));
    size_t count = 0;
    for (const RoutineCache::Entry& entry : cache.entries()) {
        const bool is_known = entry.state == State::kInstalled || entry.state == State::kSlower ||
                              (entry.state == State::kQuarantined && entry.wrong);
        if (is_known) kept[count++] = &entry;
    }
    sort(std::span(kept.data(), count),
         [](const auto* left, const auto* right) { return left->calls > right->calls; });
    Buffer<StoredRoutine> routines = TRY(Buffer<StoredRoutine>::make(allocator, count, "snapshot"));
    Buffer<ByteSpan> codes = TRY(Buffer<ByteSpan>::make(allocator, count, "snapshot"));
    for (size_t i = 0; i < count; ++i) {
        const RoutineCache::Entry& entry = *kept[i];
        routines[i] = stored(entry);
        if (entry.state == State::kInstalled)
            codes[i] = {reinterpret_cast<const uint8_t*>(entry.code), entry.bytes};
    }
    const RoutineTuner* const tuner = engine_.tuner();
    const size_t plan_count = tuner == nullptr ? 0 : tuner->table().records().size();
    Buffer<StoredPlan> plans = TRY(Buffer<StoredPlan>::make(allocator, plan_count, "snapshot"));
    for (size_t i = 0; i < plan_count; ++i) plans[i] = bareflow::stored(tuner->table().records()[i]);
    Buffer<MatMulProfile> rows =
        TRY(Buffer<MatMulProfile>::make(allocator, Profiler::kMaxShapes, "snapshot"));
    for (const Phase phase : {Phase::kPrompt, Phase::kGeneration}) {
        const size_t row_count = engine_.profiler()->matmul_get_hottest(phase, rows.span());
        for (size_t i = 0; i < row_count; ++i) add_profile(bareflow::stored(rows[i]));
    }

    const SnapshotIdentity is = identity();
    Header header{};
    header.boot_count = store_->boots() + 1;
    header.timestamp = platform_.unix_seconds();
    header.emitter_version = is.emitter_version;
    header.build_id = is.build;
    header.abi_version = is.abi_version;
    header.model_bytes = is.model_bytes;
    header.model_crc32c = is.model_crc32c;
    header.numerics = is.numerics;
    header.stage = platform_.stage();
    header.quantised_isa = engine_.isas().quantised;
    const SnapshotContent content = {.totals = totals_,
                                     .boots = {boots_.data(), history_size_},
                                     .plans = plans.span(),
                                     .profiles = {profiles_.data(), profile_count_},
                                     .routines = routines.span(),
                                     .codes = codes.span()};
    const Buffer<uint8_t> payload = TRY(write_payload(header, content, allocator));
    TRY(store_->save(header, payload.span()));
    LogRecord(platform_.log(), "snapshot_saved")
        .field("slot", FixedString<1>::formatted("{:c}", store_->slot_name()))
        .field("generation", header.generation)
        .field("bytes", header.payload_bytes)
        .field("routines", count)
        .field("plans", plan_count)
        .field("ms", milliseconds(platform_.clock().now_ns() - began));
    turn_over(header, payload.span().first(header.payload_bytes));
    return {};
}

/// What has nothing to learn any more becomes smaller, from the next boot on.
void SnapshotKeeper::turn_over(const Header& header, ByteSpan payload) {
    const Stage next = next_stage(platform_.stage(), history());
    if (next == platform_.stage()) return;
    SnapshotView saved;
    const SnapshotRefusal refusal = saved.open(header, payload);
    const Result<bool> turned =
        refusal == SnapshotRefusal::kNone
            ? platform_.turn_over(next, saved)
            : Error::make(ErrorCode::kInvalid, "what was saved: {}", name_of(refusal));
    LogRecord record(platform_.log(), "turned_over");
    record.field("from", name_of(platform_.stage()))
        .field("to", name_of(next))
        .field("done", turned.ok() && turned.value());
    if (!turned.ok()) record.field("reason", turned.error().message());
}

}  // namespace bareflow
