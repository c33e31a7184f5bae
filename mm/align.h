// Rounding to powers of two. (std::has_single_bit would want libgcc's popcount, which the kernel does not
// link.)
#pragma once

#include <cstdint>

namespace bareflow {

constexpr bool is_power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }
/// `alignment` is a power of two.
constexpr uint64_t align_down(uint64_t value, uint64_t alignment) { return value & ~(alignment - 1); }
constexpr uint64_t align_up(uint64_t value, uint64_t alignment) {
    return align_down(value + alignment - 1, alignment);
}
constexpr bool is_aligned(uint64_t value, uint64_t alignment) { return (value & (alignment - 1)) == 0; }

}  // namespace bareflow
