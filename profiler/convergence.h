// When there is nothing left to learn: decided on what boots have written down, and on nothing else.
#pragma once

#include <cstdint>
#include <span>

#include "arch/base/stage.h"

namespace bareflow {

/// One boot that ended well.
struct BootSummary {
    uint32_t boot = 0;                                  ///< its number, from 1
    uint32_t compiled = 0, restored = 0, rejected = 0;  ///< routines
    uint32_t plans_tried = 0;
    uint32_t plans_left = 0;    ///< not tried yet, of the hot shapes
    uint64_t ns_per_token = 0;  ///< of generation; 0: nothing was generated

    /// Whether it found out anything that the boots before it did not know.
    bool is_quiet() const { return compiled == 0 && rejected == 0 && plans_tried == 0; }
};

struct ConvergenceRules {
    uint32_t quiet_boots = 20;  ///< in a row, the last ones, without anything new
    double variation = 0.01;    ///< of the time a token takes, in those boots
    uint32_t most_boots = 500;  ///< by then it is as good as it gets
    uint32_t small_after = 5;   ///< boots in a row that compiled nothing: the small stage will do
};

/// How much the time of a token varies: the distance of its quartiles, as a part of its median; so that a boot in four may be
/// disturbed. Of the boots that generated something; 1 where these are fewer than half.
double token_variation(std::span<const BootSummary> boots);

/// `history`: consecutive boots, oldest first; older ones than the last quiet_boots do not matter. Converged is:
///  - no plan is left to try for any hot shape,
///  - the last quiet_boots boots compiled, rejected and tried nothing,
///  - and in these boots the time of a token varies less than `variation`;
/// or most_boots have been.
bool has_converged(std::span<const BootSummary> history, const ConvergenceRules& rules = {});

/// The image that the next boot should take: full, then small after small_after boots that compiled nothing new, then native
/// once it has converged. Never back by itself.
Stage next_stage(Stage now, std::span<const BootSummary> history, const ConvergenceRules& rules = {});

}  // namespace bareflow
