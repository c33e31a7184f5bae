#include "arch/profile_report.h"

namespace bareflow {
namespace {

constexpr size_t kHottest = 16;

/// Of weights, or of the KV cache.
bool has_type(Operation operation) {
    return operation == Operation::kProject || operation == Operation::kQkv ||
           operation == Operation::kGateUp || operation == Operation::kAttention;
}
std::string_view type_of(const MatMulProfile& profile) {
    return has_type(profile.shape.operation) ? name_of(profile.shape.type) : "-";
}
double share_of(const MatMulProfile& profile, uint64_t total) {
    return total == 0 ? 0 : static_cast<double>(profile.total_cycles()) / static_cast<double>(total) * 100;
}

}  // namespace

void report_profile(const Profiler& profiler, TextListener& out) {
    bool any = false;
    for (const Phase phase : {Phase::kPrompt, Phase::kGeneration}) {
        MatMulProfile hottest[kHottest];
        const size_t count = profiler.matmul_get_hottest(phase, hottest);
        if (count == 0) continue;
        any = true;
        const uint64_t total = profiler.total_cycles(phase);
        out.print("{}, {} cycles\n  {:<10}{:>5}{:>7}{:>7} {:<5}{:>9}{:>12}{:>12}{:>12}{:>8}\n",
                  name_of(phase), total, "operation", "M", "N", "K", "type", "calls", "mean", "least", "most",
                  "share");
        for (size_t i = 0; i < count && !out.stop_requested(); ++i) {
            const MatMulProfile& p = hottest[i];
            out.print("  {:<10}{:>5}{:>7}{:>7} {:<5}{:>9}{:>12}{:>12}{:>12}{:>7.1}%\n",
                      name_of(p.shape.operation), p.shape.m, p.shape.n, p.shape.k, type_of(p), p.call_count,
                      p.mean_cycles(), p.min_cycles, p.max_cycles, share_of(p, total));
        }
    }
    if (!any) out.text("Nothing was profiled yet: begin a story first.\n");
}

void log_profile(const Profiler& profiler, LogSink& log) {
    for (const Phase phase : {Phase::kPrompt, Phase::kGeneration}) {
        MatMulProfile hottest[kHottest];
        const size_t count = profiler.matmul_get_hottest(phase, hottest);
        for (size_t i = 0; i < count; ++i) {
            const MatMulProfile& p = hottest[i];
            LogRecord(log, "profile")
                .field("phase", name_of(phase))
                .field("op", name_of(p.shape.operation))
                .field("m", p.shape.m)
                .field("n", p.shape.n)
                .field("k", p.shape.k)
                .field("type", type_of(p))
                .field("calls", p.call_count)
                .field("cycles", p.total_cycles())
                .field("min", p.min_cycles)
                .field("max", p.max_cycles)
                .field("share", share_of(p, profiler.total_cycles(phase)));
        }
    }
    if (profiler.dropped() != 0) LogRecord(log, "profile_full").field("calls", profiler.dropped());
}

}  // namespace bareflow
