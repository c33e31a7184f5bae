// A look through all directories of a volume that was not unmounted.
#pragma once

#include "persist/fat16_volume.h"

namespace bareflow {

/// Finds two entries with the same first cluster, which a move leaves that the power cut short: to remove one would take
/// the other's clusters away. kInvalid: there are two, or a directory is damaged. Visits each directory once.
Result<void> check_tree(FatVolume& volume, Allocator& allocator);

}  // namespace bareflow
