#include "profiler/tuning.h"

#include <algorithm>
#include <functional>

#include "arch/base/sort.h"

namespace bareflow {
namespace {

/// The value at `part` (0 to 1) of the sorted values, between two neighbours where it falls between them.
double quantile(const double* sorted, size_t count, double part) {
    const double place = part * static_cast<double>(count - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, count - 1);
    return sorted[below] + (sorted[above] - sorted[below]) * (place - static_cast<double>(below));
}

struct Summary {
    double median, spread;
};
Summary summary_of(double (&values)[PlanTrial::kPairs], size_t count) {
    sort(std::span(values, count), std::less());
    return {quantile(values, count, 0.5), quantile(values, count, 0.75) - quantile(values, count, 0.25)};
}

}  // namespace

void PlanTrial::add(uint64_t incumbent_ns, uint64_t candidate_ns) {
    if (count_ == kPairs) return;
    incumbent_[count_] = static_cast<double>(incumbent_ns) / static_cast<double>(calls_);
    candidate_[count_] = static_cast<double>(candidate_ns) / static_cast<double>(calls_);
    ++count_;
}

bool PlanTrial::done() const {
    if (count_ < kFewestPairs) return false;
    if (count_ == kPairs) return true;
    constexpr double kErrors = 3;
    const Result now = result();
    return now.gain_ns < -kErrors * now.noise_ns;
}

PlanTrial::Result PlanTrial::result() const {
    constexpr double kMargin = 0.02, kErrors = 3;
    constexpr double kDeviation = 1 / 1.349, kMedianError = 1.253;
    if (count_ == 0) return {};
    double incumbent[kPairs], candidate[kPairs], difference[kPairs];
    for (size_t i = 0; i < count_; ++i) {
        incumbent[i] = incumbent_[i];
        candidate[i] = candidate_[i];
        difference[i] = incumbent_[i] - candidate_[i];
    }
    const Summary gains = summary_of(difference, count_), tried = summary_of(candidate, count_);
    const double root = __builtin_sqrt(static_cast<double>(count_));
    Result result{.incumbent_ns = summary_of(incumbent, count_).median,
                  .candidate_ns = tried.median,
                  .spread_ns = tried.spread,
                  .gain_ns = gains.median,
                  .noise_ns = gains.spread * kDeviation * kMedianError / root};
    result.wins = count_ >= kFewestPairs &&
                  result.gain_ns > std::max(kMargin * result.incumbent_ns, kErrors * result.noise_ns);
    return result;
}

bareflow::Result<TuningTable> TuningTable::make(Allocator& allocator) {
    TuningTable table;
    table.records_ = TRY(Buffer<PlanRecord>::make(allocator, kMaxRecords, "tuning table"));
    return table;
}

const PlanRecord* TuningTable::find(const RoutineKey& key, const Plan& plan) const {
    for (const PlanRecord& record : records()) {
        if (record.plan == plan && record.key == key) return &record;
    }
    return nullptr;
}

void TuningTable::add(const PlanRecord& record) {
    if (const PlanRecord* known = find(record.key, record.plan)) {
        records_[static_cast<size_t>(known - records_.data())] = record;
    } else if (!full()) {
        records_[count_++] = record;
    }
}

const PlanRecord* TuningTable::baseline(const RoutineKey& key) const {
    for (const PlanRecord& record : records()) {
        const bool first =
            record.verdict == PlanVerdict::kBaseline || record.verdict == PlanVerdict::kAtLimit;
        if (first && record.key == key) return &record;
    }
    return nullptr;
}

const PlanRecord* TuningTable::best(const RoutineKey& key) const {
    const PlanRecord* best = baseline(key);
    for (const PlanRecord& record : records()) {
        if (record.verdict == PlanVerdict::kBetter && record.key == key) best = &record;
    }
    return best;
}

double TuningTable::speedup(const RoutineKey& key) const {
    double speedup = 1;
    for (const PlanRecord& record : records()) {
        const bool won = record.verdict == PlanVerdict::kBetter && record.median_ns != 0;
        if (won && record.key == key)
            speedup *= static_cast<double>(record.incumbent_ns) / static_cast<double>(record.median_ns);
    }
    return speedup;
}

size_t TuningTable::tried(const RoutineKey& key) const {
    size_t count = 0;
    for (const PlanRecord& record : records()) count += record.key == key ? 1 : 0;
    return count - (count != 0 && baseline(key) != nullptr ? 1 : 0);
}

bool TuningTable::is_closed(const RoutineKey& key) const {
    const PlanRecord* first = baseline(key);
    return first != nullptr && first->verdict == PlanVerdict::kAtLimit;
}

const Plan* TuningTable::next_untried(const RoutineKey& key, const PlanSpace& space) const {
    if (is_closed(key)) return nullptr;
    for (const Plan& plan : space.plans()) {
        if (find(key, plan) == nullptr) return &plan;
    }
    return nullptr;
}

size_t TuningTable::untried(const RoutineKey& key, const PlanSpace& space) const {
    if (is_closed(key)) return 0;
    size_t count = 0;
    for (const Plan& plan : space.plans()) count += find(key, plan) == nullptr ? 1 : 0;
    return count;
}

}  // namespace bareflow
