#include "profiler/convergence.h"

#include <algorithm>
#include <functional>

#include "arch/base/sort.h"

namespace bareflow {
namespace {

/// More boots than these are not looked at: a rule that asks for more is never met before most_boots.
constexpr size_t kMostSamples = 128;

/// The last `count` of them; nothing if there are fewer.
std::span<const BootSummary> last(std::span<const BootSummary> history, size_t count) {
    return history.size() < count ? std::span<const BootSummary>() : history.last(count);
}

/// Between neighbours where `part` of the sorted values falls between two.
double quantile(std::span<const uint64_t> sorted, double part) {
    const double place = part * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, sorted.size() - 1);
    const auto low = static_cast<double>(sorted[below]), high = static_cast<double>(sorted[above]);
    return low + (high - low) * (place - static_cast<double>(below));
}

}  // namespace

double token_variation(std::span<const BootSummary> boots) {
    uint64_t times[kMostSamples];
    size_t count = 0;
    for (const BootSummary& boot : boots.last(std::min(boots.size(), kMostSamples))) {
        if (boot.ns_per_token != 0) times[count++] = boot.ns_per_token;
    }
    if (count == 0 || 2 * count < boots.size()) return 1;
    sort(std::span(times, count), std::less());
    const std::span<const uint64_t> sorted(times, count);
    return (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / quantile(sorted, 0.5);
}

bool has_converged(std::span<const BootSummary> history, const ConvergenceRules& rules) {
    if (history.empty()) return false;
    if (history.back().boot >= rules.most_boots) return true;
    const std::span<const BootSummary> recent = last(history, rules.quiet_boots);
    if (recent.empty() || history.back().plans_left != 0) return false;
    return std::all_of(recent.begin(), recent.end(),
                       [](const BootSummary& boot) { return boot.is_quiet(); }) &&
           token_variation(recent) < rules.variation;
}

Stage next_stage(Stage now, std::span<const BootSummary> history, const ConvergenceRules& rules) {
    const std::span<const BootSummary> recent = last(history, rules.small_after);
    const bool compiled_nothing =
        !recent.empty() &&
        std::all_of(recent.begin(), recent.end(), [](const BootSummary& boot) { return boot.compiled == 0; });
    if (now == Stage::kFull && compiled_nothing) return Stage::kSmall;
    if (now == Stage::kSmall && has_converged(history, rules)) return Stage::kNative;
    return now;
}

}  // namespace bareflow
