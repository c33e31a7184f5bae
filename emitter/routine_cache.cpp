#include "emitter/routine_cache.h"

#include <algorithm>

#include "emitter/routine_emitter.h"

namespace bareflow {
Result<void> RoutineCache::initialise(std::span<uint8_t> region, CodePages& pages, Allocator& allocator) {
    entries_ = TRY(Buffer<Entry>::make(allocator, kSlots, "routine cache"));
    arena_.emplace(TRY(CodeArena::make(region, pages, *this, allocator)));
    return {};
}

/// The slot that holds the key, or the empty one where it belongs; nullptr if the table is full.
RoutineCache::Entry* RoutineCache::slot_of(const RoutineKey& key) const {
    const uint64_t hash = hash_of(key);
    for (size_t i = 0; i < kSlots; ++i) {
        Entry& entry = entries_[(hash + i) % kSlots];
        if (entry.state == Entry::State::kEmpty || entry.key == key) return &entry;
    }
    return nullptr;
}

Routine RoutineCache::find(const RoutineKey& key) {
    Entry* entry = slot_of(key);
    if (entry == nullptr || entry->state != Entry::State::kInstalled) return nullptr;
    ++entry->calls;
    return entry->code;
}

bool RoutineCache::is_hot(const RoutineKey& key) {
    using enum Entry::State;
    Entry* entry = slot_of(key);
    if (entry == nullptr || entry->state == kQuarantined || entry->state == kSlower) return false;
    if (entry->state == kInstalled || entry->state == kEvicted) return true;
    if (entry->state == kEmpty) *entry = {.key = key, .plan = {}, .state = kCold};
    return ++entry->calls >= hot_calls_ || multiply_adds(key) >= kHotMultiplyAdds;
}

RoutineSource::Made RoutineCache::make_if_hot(const RoutineKey& key, const void* arguments) {
    if (!can_emit(key) || !is_hot(key)) return {};
    const uint32_t rejected = counts_.rejected;
    const Routine made = find_or_make(key, best_plan(key), arguments);
    return {made, counts_.rejected != rejected};
}

Plan RoutineCache::best_plan(const RoutineKey& key) const {
    const Plan* known = plan_source_ == nullptr ? nullptr : plan_source_->best_plan(key);
    return known == nullptr ? default_plan(key) : complete_plan(key, *known);
}

Routine RoutineCache::find_or_make(const RoutineKey& key, const Plan& plan, const void* arguments) {
    Entry* entry = slot_of(key);
    if (entry == nullptr) return nullptr;
    if (entry->state == Entry::State::kInstalled) return entry->code;
    if (entry->state == Entry::State::kQuarantined || entry->state == Entry::State::kSlower) return nullptr;
    *entry = {.key = key, .plan = plan};
    Result<void> made = make(*entry, arguments);
    if (made) return entry->code;
    entry->state = Entry::State::kQuarantined;
    entry->wrong = made.error().code() != ErrorCode::kOutOfMemory;
    ++counts_.rejected;
    LogRecord(log_, "routine_rejected")
        .field("key", name_of(key).view())
        .field("reason", made.error().message());
    return nullptr;
}

Result<RoutineCache::Candidate> RoutineCache::make_candidate(const RoutineKey& key, const Plan& plan,
                                                             const void* arguments, RoutineProbe& probe) {
    for (const Entry& each : entries_) {
        if (each.state == Entry::State::kInstalled)
            arena_->set_value(reinterpret_cast<const void*>(each.code), each.value());
    }
    const std::span<uint8_t> room = TRY(arena_->open(kMaxRoutine));
    Result<size_t> size = maker_.make(key, plan, room);
    if (!size) {
        arena_->release(room.data());
        return size.error();
    }
    const void* code = TRY(arena_->seal(room, size.value()));
    const auto routine = reinterpret_cast<Routine>(const_cast<void*>(code));
    Result<ProbeTimes> checked = probe.check(key, routine, arguments);
    if (!checked) {
        arena_->release(code);
        return checked.error();
    }
    return Candidate{key, plan, routine, static_cast<uint32_t>(size.value()), checked.value()};
}

Result<void> RoutineCache::make(Entry& entry, const void* arguments) {
    const Candidate made = TRY(make_candidate(entry.key, entry.plan, arguments));
    ++counts_.compiled;
    if (made.times.routine_ns <= made.times.reference_ns) {
        install(made);
        return {};
    }
    discard(made);
    entry.state = Entry::State::kSlower;
    ++counts_.slower;
    LogRecord(log_, "routine_slower")
        .field("key", name_of(entry.key).view())
        .field("routine_ns", made.times.routine_ns)
        .field("reference_ns", made.times.reference_ns);
    return {};
}

void RoutineCache::install(const Candidate& candidate) {
    Entry* entry = slot_of(candidate.key);
    if (entry == nullptr) return discard(candidate);
    const uint64_t saved =
        candidate.times.reference_ns - std::min(candidate.times.routine_ns, candidate.times.reference_ns);
    // Its calls tell what the key is worth; a first one is the call that wants it.
    const bool replaces = entry->state == Entry::State::kInstalled;
    if (replaces) {
        arena_->release(reinterpret_cast<const void*>(entry->code));
        counts_.code_bytes -= entry->bytes;
    }
    *entry = {.key = candidate.key,
              .plan = candidate.plan,
              .state = Entry::State::kInstalled,
              .code = candidate.code,
              .bytes = candidate.bytes,
              .saved_ns = replaces ? std::max(saved, entry->saved_ns) : saved,
              .calls = replaces ? entry->calls : 1};
    counts_.code_bytes += entry->bytes;
}

RoutineCache::Restored RoutineCache::restore(const RoutineKey& key, const Plan& plan, ByteSpan code,
                                             uint64_t saved_ns) {
    if (!can_emit(key) || !(complete_plan(key, plan) == plan)) return Restored::kNotMade;
    const Entry* entry = slot_of(key);
    if (entry == nullptr || entry->state != Entry::State::kEmpty) return Restored::kNoRoom;
    // Nothing that is there has to go for it: what the model needs first was saved first.
    if (arena_->capacity() - arena_->used() < kMaxRoutine) return Restored::kNoRoom;
    Result<std::span<uint8_t>> room = arena_->open(kMaxRoutine);
    if (!room) return Restored::kNoRoom;
    const Result<size_t> size = maker_.make(key, plan, room.value());
    const bool same = size.ok() && size.value() == code.size() &&
                      __builtin_memcmp(room.value().data(), code.data(), code.size()) == 0;
    if (!same) {
        arena_->release(room.value().data());
        return size.ok() ? Restored::kDiffers : Restored::kNotMade;
    }
    const Result<const void*> sealed = arena_->seal(room.value(), size.value());
    if (!sealed) return Restored::kNoRoom;
    install({.key = key,
             .plan = plan,
             .code = reinterpret_cast<Routine>(const_cast<void*>(sealed.value())),
             .bytes = static_cast<uint32_t>(code.size()),
             .times = {.routine_ns = 0, .reference_ns = saved_ns}});
    ++counts_.restored;
    return Restored::kYes;
}

RoutineCache::Restored RoutineCache::restore_verdict(const RoutineKey& key, const Plan& plan,
                                                     Entry::State state) {
    if (!can_emit(key)) return Restored::kNotMade;
    Entry* entry = slot_of(key);
    if (entry == nullptr || entry->state != Entry::State::kEmpty) return Restored::kNoRoom;
    *entry = {.key = key, .plan = plan, .state = state, .wrong = state == Entry::State::kQuarantined};
    return Restored::kYes;
}

const RoutineCache::Entry* RoutineCache::entry_of(const RoutineKey& key) const {
    const Entry* entry = slot_of(key);
    return entry == nullptr || entry->state == Entry::State::kEmpty ? nullptr : entry;
}

bool RoutineCache::find_code(uint64_t address, FixedString<96>& name, uint64_t& offset) const {
    const void* code = arena_ ? arena_->routine_at(address) : nullptr;
    if (code == nullptr) return false;
    for (const Entry& entry : entries_) {
        if (entry.state != Entry::State::kInstalled || reinterpret_cast<const void*>(entry.code) != code)
            continue;
        name = name_of(entry.key);
        offset = address - reinterpret_cast<uintptr_t>(code);
        return true;
    }
    return false;
}

void RoutineCache::evicted(const void* code) {
    for (Entry& entry : entries_) {
        if (entry.state != Entry::State::kInstalled || reinterpret_cast<const void*>(entry.code) != code)
            continue;
        entry.state = Entry::State::kEvicted;
        entry.code = nullptr;
        counts_.code_bytes -= entry.bytes;
        ++counts_.evicted;
        LogRecord(log_, "routine_evicted")
            .field("key", name_of(entry.key).view())
            .field("calls", entry.calls);
    }
}

}  // namespace bareflow
