// The seam between the portable rooms and the ground: what the bare machine (arch/x86_64) and a Linux process
// (arch/host) each provide. Everything portable gets these by reference, so tests hand in fakes.
#pragma once

#include "arch/base/allocator.h"
#include "arch/base/bytes.h"
#include "arch/base/cpu_features.h"
#include "arch/base/log.h"
#include "arch/base/stage.h"
#include "arch/base/terminal.h"
#include "arch/base/workers.h"
#include "mm/code_arena.h"

namespace bareflow {

class FileStore;     // arch/base/file_store.h
class FixedFile;     // persist/fixed_file.h
class SnapshotView;  // persist/snapshot.h

/// Bytes of memory, for /mem and the statistics.
struct MemoryUse {
    uint64_t total = 0;          ///< RAM of the machine
    uint64_t heap_in_use = 0;    ///< allocated now
    uint64_t heap_peak = 0;      ///< the most ever allocated
    uint64_t heap_reserved = 0;  ///< taken from the machine by the heap
    uint64_t image = 0;          ///< the program itself, without the embedded model
};

/// Runs a function whose fault is a return value.
class FaultGuard {
 public:
    /// False if function(argument) faulted; `fault` then says what happened, with the address of the instruction.
    virtual bool run(void (*function)(void*), void* argument, FixedString<96>& fault) = 0;

 protected:
    ~FaultGuard() = default;
};

/// The machine's cores, as far as they are used.
struct Cores {
    unsigned found = 1;
    unsigned started = 1;        ///< that came up, the first one included
    Workers* workers = nullptr;  ///< of the started ones; nullptr where there is but one
};

class Platform {
 public:
    virtual std::string_view name() const = 0;  ///< "kernel" or "host"
    virtual Terminal& terminal() = 0;
    virtual LogSink& log() = 0;
    virtual Clock& clock() = 0;
    virtual Allocator& allocator() = 0;
    virtual const CpuFeatures& cpu() const = 0;
    virtual std::string_view cpu_name() const = 0;
    virtual MemoryUse memory_use() = 0;
    /// Memory for emitted routines, page-aligned, kept for good.
    virtual Result<std::span<uint8_t>> code_region(size_t bytes) = 0;
    virtual CodePages& code_pages() = 0;
    virtual FaultGuard& fault_guard() = 0;
    /// Lets up to `wanted` cores (0: all) wait for work; once. Fewer than wanted is no error.
    virtual Cores start_cores(unsigned wanted) {
        static_cast<void>(wanted);
        return {};
    }
    /// Where fault reports look up addresses in emitted code; nullptr: nowhere. Must outlive its use.
    virtual void set_code_directory(const CodeDirectory* directory) = 0;
    virtual uint64_t entropy() = 0;  ///< for seeds, not for secrets
    /// The two files that snapshots live in (persist/snapshot_store.h), 0 and 1; nullptr: there is none.
    virtual FixedFile* snapshot_slot(unsigned index) {
        static_cast<void>(index);
        return nullptr;
    }
    /// Where the chat keeps conversations; nullptr: nowhere.
    virtual FileStore* files() { return nullptr; }
    /// 20 bytes that change with every build of other code; empty where nobody knows: then no snapshot is used.
    virtual ByteSpan build_id() const { return {}; }
    /// Routines that the image brought along (persist/native_segment.h), executable; empty where it has no room for them.
    virtual ByteSpan native_segment() const { return {}; }
    /// From the next boot on the machine is to be of stage `next`; a native image is filled from `learned`. False: nothing was
    /// changed, since it does not start from a disk of its own, or has tried before and failed.
    virtual Result<bool> turn_over(Stage next, const SnapshotView& learned) {
        static_cast<void>(next), static_cast<void>(learned);
        return false;
    }
    /// A native image ran to a good end on its own routines, or could not use them.
    virtual void report_native(bool good) { static_cast<void>(good); }
    virtual uint64_t unix_seconds() { return 0; }  ///< 0: nobody knows
    virtual Stage stage() const { return Stage::kFull; }

 protected:
    ~Platform() = default;
};

}  // namespace bareflow
