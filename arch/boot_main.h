// What the kernel's main and the host's main do alike, once each has its platform, its options and its models.
#pragma once

#include <span>

#include "arch/base/options.h"
#include "arch/base/result.h"
#include "arch/platform.h"
#include "arch/routine_service.h"
#include "model/session.h"

namespace bareflow {

/// Opens the first of `candidates` (in the order of preference) that can be used, then runs the prompt once (-p given,
/// or nobody at the terminal) or chats, and logs the statistics. A candidate that cannot be used is refused with the
/// reason on the log, and on the terminal if a person chats there, and the next one is tried.
///
/// In a single run the terminal gets the text, one newline after it, and nothing else. Stopped by Ctrl-C it still ended
/// well: the log says stop=interrupt. The error that ends a run is on the log already; the caller shows it to the user
/// and turns it into the failing exit status.
///
/// Each stage has its own (arch/stages/): boot_with() its service.
Result<void> boot_main(Platform& platform, const Options& options, std::span<const ModelImage> candidates);

Result<void> boot_with(RoutineService& routines, Platform& platform, const Options& options,
                       std::span<const ModelImage> candidates);

}  // namespace bareflow
