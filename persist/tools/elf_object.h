// ELF64 relocatable objects (System V gABI chapter 4, x86-64 psABI): emitted routines as functions that objdump, nm, gdb,
// perf and a linker know by name and size.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "arch/base/bytes.h"
#include "arch/base/result.h"

namespace bareflow {

struct ObjectFunction {
    std::string name;
    ByteSpan code;
    struct Data {
        size_t offset, size;
    };
    /// Parts of the code that are constants: each gets a local symbol of type OBJECT (NAME_constants, NAME_constants_2,
    /// …), so that objdump -d shows data and not nonsense.
    std::vector<Data> data;
};

/// Functions begin at multiples of this, as in the kernel's memory they do at least.
constexpr uint64_t kFunctionAlignment = 64;

/// The bytes of an object file: one .text with all functions, global, in this order; a stack that is not executable.
/// Error: two functions of one name, or data outside of its function.
Result<std::vector<uint8_t>> elf_object(std::span<const ObjectFunction> functions);

}  // namespace bareflow
