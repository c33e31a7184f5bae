// The kernel's own image as kernel.ld laid it out, and its stacks as boot.S did.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "arch/x86_64/loaded_model.h"

extern "C" {
extern const uint8_t __image_start[], __image_end[];
extern const uint8_t __text_start[], __text_end[];
extern const uint8_t __native_start[], __native_end[];  ///< for routines; empty but in native images
extern const uint8_t __rodata_start[], __rodata_end[];
extern const uint8_t __data_start[], __data_end[];
extern const uint8_t __symbols_start[], __symbols_end[];
extern const uint8_t boot_stack_guard[], boot_stack_top[], ist_stacks[];
extern const uint8_t bareflow_embedded_model[], bareflow_embedded_model_end[];
extern bareflow::LoadedModel bareflow_loaded_model;  ///< main.cpp's; the stub of a packed kernel fills it
extern const uint8_t bareflow_build_id[20];          ///< the Makefile's
}

namespace bareflow {

constexpr size_t kStackGuardSize = 4096;
constexpr size_t kIstStackSize = 16384;
constexpr size_t kIstCount = 7;  ///< Intel SDM 3A 6.14.5

inline uint64_t address_of(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

/// The model that came with the kernel's ELF file, behind its image; empty if there is none.
inline std::span<const uint8_t> loaded_model() {
    return {reinterpret_cast<const uint8_t*>(bareflow_loaded_model.address), bareflow_loaded_model.bytes};
}

inline uint64_t ist_guard(size_t index) {
    return address_of(ist_stacks) + index * (kStackGuardSize + kIstStackSize);
}
inline uint64_t ist_top(size_t index) { return ist_guard(index) + kStackGuardSize + kIstStackSize; }

}  // namespace bareflow
