// The boot information that GRUB leaves (Multiboot2 specification 1.6, section 3.6). Read in place; nothing is copied.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "arch/base/bytes.h"
#include "arch/base/result.h"
#include "arch/x86_64/framebuffer.h"
#include "mm/frames.h"

namespace bareflow {

constexpr uint32_t kMultiboot2BootMagic = 0x36D76289;

struct BootModule {
    std::string_view name;  ///< the rest of its line in grub.cfg
    ByteSpan bytes;
};

struct BootInformation {
    static constexpr size_t kMaxRanges = 256, kMaxModules = 8;

    std::string_view command_line;
    ByteSpan self;  ///< the information block, to be left alone
    ByteSpan rsdp;  ///< ACPI's root pointer, the newest version given; empty if none
    MemoryRange usable[kMaxRanges];
    size_t usable_count = 0;
    uint64_t ram_bytes = 0;  ///< sum of usable
    BootModule modules[kMaxModules];
    size_t module_count = 0;
    BootFramebuffer framebuffer;

    std::span<const MemoryRange> usable_ranges() const { return {usable, usable_count}; }
    std::span<const BootModule> module_list() const { return {modules, module_count}; }
    /// The module of that name, or an empty span.
    ByteSpan module(std::string_view name) const;
};

/// Parses the block at `address`; an error names what GRUB left out or got wrong.
Result<BootInformation> parse_boot_information(uint32_t magic, uint64_t address);

}  // namespace bareflow
