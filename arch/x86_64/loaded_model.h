// A model that came with the kernel's own ELF file, as a segment of its own: what the stub of a packed kernel tells the kernel.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace bareflow {

struct LoadedModel {
    uint64_t address, bytes;  ///< 0: there is none
};
static_assert(sizeof(LoadedModel) == 16);

}  // namespace bareflow
