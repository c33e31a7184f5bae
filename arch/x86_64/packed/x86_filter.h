// Undoes xz's x86 filter (`xz --x86`): packed code has absolute addresses behind its calls and jumps, which repeat, where the
// processor wants relative ones, which do not.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace bareflow {

/// In place. `data` began at offset 0 of what was filtered.
void undo_x86_filter(uint8_t* data, size_t size);

}  // namespace bareflow
