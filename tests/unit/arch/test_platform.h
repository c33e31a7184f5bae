// The platform of whole boots in tests: the host's code pages and fault guard, all else of it a fake that can be looked at.
#pragma once

#include "arch/host/host_platform.h"
#include "tests/unit/model/session_support.h"

namespace bareflow::testing {

struct TestPlatform : Platform {
    std::string_view name() const override { return "test"; }
    Terminal& terminal() override { return fake_terminal; }
    LogSink& log() override { return lines; }
    Clock& clock() override { return fake_clock; }
    Allocator& allocator() override { return fake_allocator; }
    const CpuFeatures& cpu() const override { return features; }
    std::string_view cpu_name() const override { return "Test CPU"; }
    MemoryUse memory_use() override { return {}; }
    Result<std::span<uint8_t>> code_region(size_t bytes) override {
        return std::span(static_cast<uint8_t*>(HostPages().take(bytes, CodePages::kPageSize)), bytes);
    }
    CodePages& code_pages() override { return host_code_pages; }
    FaultGuard& fault_guard() override { return signal_guard; }
    void set_code_directory(const CodeDirectory* where) override { directory = where; }
    uint64_t entropy() override { return 4711; }

    FakeTerminal fake_terminal;
    RecordingLog lines;
    FakeClock fake_clock;
    TestAllocator fake_allocator;
    HostCodePages host_code_pages;
    SignalGuard signal_guard;
    CpuFeatures features;  ///< none, unless a test says which
    const CodeDirectory* directory = nullptr;
};

}  // namespace bareflow::testing
