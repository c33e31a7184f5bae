#include "arch/routine_tuning.h"

#include <algorithm>

#include "arch/routine_alternatives.h"

namespace bareflow {
bool RoutineTuning::meet_shapes() {
    // Weights that come and go cannot be timed twice.
    if (engine_.tuner() == nullptr || session_.stream() != nullptr) return false;
    const uint32_t compiled = engine_.cache()->counts().compiled;
    if (compiled == met_at_) return true;
    met_at_ = compiled;
    nothing_left_ = false;
    engine_.meet_shapes(session_);
    return true;
}

bool RoutineTuning::work(uint64_t slice_ns) {
    if (spent_ns_ >= budget_ns_ || !meet_shapes() || nothing_left_) return false;
    Clock& clock = platform_.clock();
    const uint64_t began = clock.now_ns(), end = began + std::min(slice_ns, budget_ns_ - spent_ns_);
    do {
        nothing_left_ = !engine_.tuner()->step();
    } while (!nothing_left_ && clock.now_ns() < end);
    spent_ns_ += clock.now_ns() - began;
    const bool goes_on = !nothing_left_ && spent_ns_ < budget_ns_;
    if (!goes_on) log_summary();
    return goes_on;
}

void RoutineTuning::log_summary() {
    const RoutineTuner* tuner = engine_.tuner();
    if (tuner == nullptr || tuner->counts().tried == summed_up_) return;
    summed_up_ = tuner->counts().tried;
    LogRecord(platform_.log(), "tune")
        .field("tried", tuner->counts().tried)
        .field("left", tuner->left())
        .field("improved", tuner->counts().improved)
        .field("rejected", tuner->counts().rejected)
        .field("ms", TokenTiming{1, spent_ns_}.milliseconds());
}

void RoutineTuning::run_now(TextListener& out) {
    if (!meet_shapes())
        return out.text(
            "no routines to tune: nothing is emitted with --jit off, --isa scalar, on this CPU, or for "
            "weights that are streamed\n");
    RoutineTuner& tuner = *engine_.tuner();
    constexpr uint64_t kShowNs = 100'000'000;
    Clock& clock = platform_.clock();
    const uint64_t began = clock.now_ns();
    const uint32_t tried_before = tuner.counts().tried;
    uint64_t shown = began;
    bool stopped = false;
    while (!(stopped = out.stop_requested()) && tuner.step()) {
        const uint64_t now = clock.now_ns();
        if (now - shown < kShowNs) continue;
        shown = now;
        show_progress(out, tuner.counts().tried - tried_before, now - began);
    }
    const uint64_t ns = clock.now_ns() - began;
    show_progress(out, tuner.counts().tried - tried_before, ns);
    out.text("\n");
    spent_ns_ += ns;
    nothing_left_ = !stopped;
    show_table(out);
    log_summary();
    if (stopped) return out.text("[stopped: /tune goes on]\n");
    report_alternatives(platform_, *engine_.cache(), tuner.shapes(), out);
}

void RoutineTuning::show_progress(TextListener& out, uint32_t done, uint64_t ns) {
    constexpr uint32_t kWidth = 30;
    constexpr std::string_view kFull = "##############################",
                               kEmpty = "..............................";
    const uint32_t left = engine_.tuner()->left(), all = done + left;
    const uint32_t filled = all == 0 ? kWidth : done * kWidth / all;
    out.print("\r[{}{}] {} of {} plans", kFull.substr(0, filled), kEmpty.substr(filled), done, all);
    const double seconds = static_cast<double>(ns) * 1e-9;
    if (left == 0) return out.print(", {:.1} s          ", seconds);
    if (done != 0) out.print(", about {:.1} s left ", seconds / done * left);
}

void RoutineTuning::show_table(TextListener& out) {
    const TuningTable& table = engine_.tuner()->table();
    for (const TunedShape& shape : engine_.tuner()->shapes()) {
        const RoutineCache::Entry* entry = engine_.cache()->entry_of(shape.key);
        if (entry == nullptr || shape.count == 0 || out.stop_requested()) continue;
        const PlanRecord* baseline = table.baseline(shape.key);
        const double gain = (table.speedup(shape.key) - 1) * 100;
        out.print("{:<52}{:>4} tried{:>8.1}%\n", name_of(shape.key).view(), table.tried(shape.key), gain);
        if (table.is_closed(shape.key)) {
            out.text("    reads its weights as fast as memory gives them\n");
        } else if (entry->state != RoutineCache::Entry::State::kInstalled) {
            out.text("    the reference is faster, and stays\n");
        } else if (baseline == nullptr) {
            out.print("    reference -> {}\n", name_of(entry->plan).view());
        } else if (baseline->plan == entry->plan) {
            out.print("    {} stays\n", name_of(entry->plan).view());
        } else {
            out.print("    {} -> {}\n", name_of(baseline->plan).view(), name_of(entry->plan).view());
        }
    }
}

}  // namespace bareflow
