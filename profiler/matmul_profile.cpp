#include "profiler/matmul_profile.h"

#include <algorithm>

#include "profiler/cycles.h"

namespace bareflow {
namespace {

size_t hash_of(const ProfiledShape& shape, Phase phase) {
    constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio: Fibonacci hashing
    uint64_t hash = (uint64_t{shape.n} << 32 | shape.k) * kMultiplier;
    const uint64_t kind = uint64_t{shape.m} << 24 | static_cast<uint64_t>(shape.type) << 16 |
                          static_cast<uint64_t>(shape.operation) << 8 | static_cast<uint64_t>(phase);
    hash = (hash ^ kind) * kMultiplier;
    return hash >> 32;
}

bool is_hotter(const MatMulProfile& a, const MatMulProfile& b) { return a.total_cycles() > b.total_cycles(); }

}  // namespace

Result<Profiler> Profiler::make(Allocator& allocator) {
    Profiler profiler;
    profiler.table_ = TRY(Buffer<Slot>::make(allocator, kMaxShapes, "profile"));
    return profiler;
}

/// The slot that holds the shape in this phase, or an empty one made its own; nullptr if the table is full.
Profiler::Slot* Profiler::find_slot(const ProfiledShape& shape) {
    const size_t hash = hash_of(shape, phase_);
    for (size_t i = 0; i < kMaxShapes; ++i) {
        Slot& slot = table_[(hash + i) % kMaxShapes];
        if (slot.is(shape, phase_)) return &slot;
        if (slot.profile.call_count != 0) continue;
        slot.profile.shape = shape;
        slot.profile.phase = phase_;
        return &slot;
    }
    return nullptr;
}
/// The same; quickly where the shape follows the one that it followed before.
Profiler::Slot* Profiler::slot_of(const ProfiledShape& shape) {
    if (current_ == nullptr) return find_slot(shape);
    if (current_->follower == nullptr || !current_->follower->is(shape, phase_))
        current_->follower = find_slot(shape);
    return current_->follower;
}

void Profiler::matmul_profile_begin(const ProfiledShape& shape) {
    current_ = slot_of(shape);
    if (current_ == nullptr) {
        ++dropped_;
        return;
    }
    ++current_->profile.call_count;
    if (timing_) began_ = cycles_now();
}

void Profiler::matmul_profile_end() {
    if (!timing_ || current_ == nullptr) return;
    const uint64_t cycles = cycles_now() - began_;
    MatMulProfile& profile = current_->profile;
    profile.min_cycles = profile.timed_count == 0 ? cycles : std::min(profile.min_cycles, cycles);
    profile.max_cycles = std::max(profile.max_cycles, cycles);
    profile.timed_cycles += cycles;
    ++profile.timed_count;
}

void Profiler::reset() {
    for (Slot& slot : table_) slot = {};
    current_ = nullptr;
    dropped_ = 0;
}

size_t Profiler::matmul_get_hottest(Phase phase, std::span<MatMulProfile> out) const {
    size_t count = 0;
    for (const Slot& slot : table_) {
        const MatMulProfile& profile = slot.profile;
        if (profile.call_count == 0 || profile.phase != phase) continue;
        // Inserted where it belongs among the hottest so far; what falls out at the end was colder.
        const size_t place = static_cast<size_t>(
            std::upper_bound(out.begin(), out.begin() + static_cast<ptrdiff_t>(count), profile, is_hotter) -
            out.begin());
        if (place == out.size()) continue;
        if (count < out.size()) ++count;
        for (size_t i = count - 1; i > place; --i) out[i] = out[i - 1];
        out[place] = profile;
    }
    return count;
}

uint64_t Profiler::total_cycles(Phase phase) const {
    uint64_t total = 0;
    for (const Slot& slot : table_) {
        if (slot.profile.call_count != 0 && slot.profile.phase == phase) total += slot.profile.total_cycles();
    }
    return total;
}

}  // namespace bareflow
