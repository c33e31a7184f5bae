// The services of platform.h as a Linux process has them.
#pragma once

#include <string>

#include "arch/host/code_memory.h"
#include "arch/host/folder_files.h"
#include "arch/host/host_terminal.h"
#include "arch/host/threads.h"
#include "arch/platform.h"
#include "mm/heap.h"

namespace bareflow {

/// This processor's CPUID and XCR0.
class HostCpuid final : public CpuidReader {
 public:
    CpuidRegisters cpuid(uint32_t leaf, uint32_t subleaf) const override;
    uint64_t xcr0() const override;
};

class HostClock final : public Clock {
 public:
    uint64_t now_ns() override;
};

/// A log file; without one, records go nowhere.
class HostLog final : public LogSink {
 public:
    HostLog() = default;
    HostLog(const HostLog&) = delete;
    HostLog& operator=(const HostLog&) = delete;
    ~HostLog();

    /// Begins the file anew.
    Result<void> open(const std::string& path);
    /// Each line is in the file when this returns.
    void write_line(std::string_view line) override;
    /// The errno of the first write that failed; 0: all went well.
    int write_error() const { return write_error_; }

 private:
    int fd_ = -1;
    int write_error_ = 0;
};

/// Pages from mmap.
class HostPages final : public PageSource {
 public:
    void* take(size_t bytes, size_t alignment) override;
    void give(void* pages, size_t bytes) override;
};

class HostPlatform final : public Platform {
 public:
    /// `embedded_model_bytes` of the program's image are the model.
    explicit HostPlatform(uint64_t embedded_model_bytes);
    HostPlatform(const HostPlatform&) = delete;
    HostPlatform& operator=(const HostPlatform&) = delete;

    std::string_view name() const override { return "host"; }
    Terminal& terminal() override { return terminal_; }
    LogSink& log() override { return log_; }
    Clock& clock() override { return clock_; }
    Allocator& allocator() override { return heap_; }
    const CpuFeatures& cpu() const override { return features_; }
    std::string_view cpu_name() const override { return cpu_name_; }
    MemoryUse memory_use() override;
    Result<std::span<uint8_t>> code_region(size_t bytes) override;
    CodePages& code_pages() override { return code_pages_; }
    FaultGuard& fault_guard() override { return fault_guard_; }
    /// Threads; there can be more than cores.
    Cores start_cores(unsigned wanted) override;
    /// A process's faults are the debugger's to report.
    void set_code_directory(const CodeDirectory*) override {}
    uint64_t entropy() override;
    ByteSpan build_id() const override;
    uint64_t unix_seconds() override;
    /// The folder that it was started in, unless told otherwise.
    FileStore* files() override { return files_; }
    void keep_files_in(FileStore& files) { files_ = &files; }
    FixedFile* snapshot_slot(unsigned index) override {
        return slots_ == nullptr ? nullptr : slots_->slot(index);
    }

    /// Where the two slots come from.
    class Slots {
     public:
        virtual FixedFile* slot(unsigned index) = 0;

     protected:
        ~Slots() = default;
    };
    /// Snapshots are kept there from now on; it outlives the platform's use.
    void keep_snapshots_on(Slots& slots) { slots_ = &slots; }

    Result<void> open_log(const std::string& path) { return log_.open(path); }
    /// Whether the text, and the log, could be written.
    Result<void> check_output() const;

 private:
    uint64_t embedded_model_bytes_;
    HostTerminal terminal_;
    HostLog log_;
    HostClock clock_;
    HostPages pages_;
    HostCodePages code_pages_;
    SignalGuard fault_guard_;
    Heap heap_;
    CpuFeatures features_;
    FixedString<48> cpu_name_;
    Threads threads_;
    Slots* slots_ = nullptr;
    FolderFiles folder_{"."};
    FileStore* files_ = &folder_;
};

}  // namespace bareflow
