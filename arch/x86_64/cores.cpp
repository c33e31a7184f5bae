#include "arch/x86_64/cores.h"

#include <algorithm>
#include <atomic>

#include "arch/x86_64/acpi.h"
#include "arch/x86_64/core_table.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/interrupts.h"
#include "arch/x86_64/local_apic.h"
#include "arch/x86_64/madt.h"
#include "arch/x86_64/memory.h"
#include "arch/x86_64/processor.h"

extern "C" {
extern const uint8_t ap_real_mode[], ap_real_mode_end[];
// Read by ap_entry.S.
extern uint64_t ap_cr0, ap_cr3, ap_cr4, ap_efer;
extern std::atomic<uint32_t> ap_ticket;
constinit uint64_t ap_cr0 = 0, ap_cr3 = 0, ap_cr4 = 0, ap_efer = 0;
/// The number of the core that may come up now; 0: none. Taken by exchange.
constinit std::atomic<uint32_t> ap_ticket = 0;
[[noreturn]] void ap_main(uint32_t core);
}

namespace bareflow {
namespace {

// Intel SDM 3A 8.4.4.1: 10 ms after INIT, 200 µs after the first SIPI. Then a core has long been up, but for one whose
// hypervisor has not let it run yet.
constexpr uint64_t kInitNs = 10'000'000, kSipiNs = 200'000, kTimeoutNs = 500'000'000;

/// What a core has seen of changes to the page tables. Beside the object below, which would else be in the image's data.
struct alignas(64) Seen {
    uint32_t changes = 0;
};
constinit Seen seen[kMaxCores];

/// hlt until an interrupt; who changes the word sends one.
class HaltParking final : public Parking {
 public:
    /// Interrupts are off outside of this. One that comes between the check and the HLT stays pending, and ends it.
    void park(unsigned, const std::atomic<uint32_t>& word, uint32_t unchanged) override {
        if (word.load(std::memory_order_seq_cst) == unchanged) cpu::enable_interrupts_and_halt();
    }
    void wake(unsigned worker, std::atomic<uint32_t>&) override {
        local_apic_send(apic_id_of_core(worker), kIpiFixed, kVectorWake);
    }
    /// Forgets translations that the first core has changed since. Writing CR3 also serializes, which a core must before
    /// it runs code that another has written (Intel SDM 3A 8.1.3).
    void before_job(unsigned worker) override {
        const uint32_t changes = page_table_changes();
        if (seen[worker].changes == changes) return;
        seen[worker].changes = changes;
        cpu::write_cr3(cpu::read_cr3());
    }
};

constinit HaltParking parking;
constinit Workers workers;
constinit std::atomic<uint32_t> core_up = 0;  ///< the number of the core that came up last

/// Stacks for core number `core`, each with a guard page that is not mapped.
Result<void> make_stacks(unsigned core) {
    if (core_stack_top(core) != 0) return {};  // of a core that did not come up
    const PhysicalAddress start = TRY(frames().allocate(kCoreStacksSize / kFrameSize));
    TRY(address_space().unmap(start, kStackGuardSize));
    const uint64_t ist = start + kStackGuardSize + kCoreStackSize;
    for (size_t slot = 0; slot < kIstCount; ++slot)
        TRY(address_space().unmap(ist + slot * kIstSlotSize, kStackGuardSize));
    set_core_stacks(core, start);
    return {};
}

void copy_state_of_this_core(uint64_t page) {
    constexpr uint64_t kLongModeActive = 1 << 10;  // EFER.LMA: the processor sets it
    ap_cr0 = cpu::read_cr0();
    ap_cr3 = cpu::read_cr3();
    ap_cr4 = cpu::read_cr4();
    ap_efer = cpu::read_msr(cpu::kMsrEfer) & ~kLongModeActive;
    __builtin_memcpy(reinterpret_cast<void*>(page), ap_real_mode,
                     static_cast<size_t>(ap_real_mode_end - ap_real_mode));
}

bool comes_up(unsigned core, uint64_t within_ns, TscClock& clock) {
    const uint64_t begin = clock.now_ns();
    while (core_up.load(std::memory_order_acquire) != core) {
        if (clock.now_ns() - begin > within_ns) return false;
        cpu::pause();
    }
    return true;
}

enum class Outcome { kUp, kAbsent, kLost };
/// kLost: it took its number, and then was not heard of: neither number nor stack can be given to another.
Outcome start_core(unsigned core, uint32_t apic_id, uint64_t page, TscClock& clock) {
    const auto vector = static_cast<uint8_t>(page / kFrameSize);
    ap_ticket.store(core, std::memory_order_seq_cst);
    for (const uint64_t wait : {kSipiNs, kTimeoutNs}) {
        local_apic_send(apic_id, kIpiStartup, vector);
        if (comes_up(core, wait, clock)) return Outcome::kUp;
    }
    if (ap_ticket.exchange(0, std::memory_order_seq_cst) != 0) return Outcome::kAbsent;
    return comes_up(core, kTimeoutNs, clock) ? Outcome::kUp : Outcome::kLost;
}

/// Starts `ids` until `wanted` cores run.
void start_cores(std::span<const uint32_t> ids, unsigned wanted, uint64_t page, TscClock& clock,
                 LogSink& log) {
    copy_state_of_this_core(page);
    for (const uint32_t id : ids) local_apic_send(id, kIpiInit, 0);
    const uint64_t begin = clock.now_ns();
    while (clock.now_ns() - begin < kInitNs) cpu::pause();
    for (const uint32_t id : ids) {
        const unsigned core = core_count();
        if (core >= wanted) return;
        Result<void> stacks = make_stacks(core);
        const Outcome outcome = stacks.ok() ? start_core(core, id, page, clock) : Outcome::kLost;
        if (outcome == Outcome::kUp) {
            workers.add();
            continue;
        }
        LogRecord(log, "core_failed")
            .field("apic_id", id)
            .field("reason", stacks.ok() ? std::string_view("it did not come up") : stacks.error().message());
        if (outcome == Outcome::kLost) return;
    }
}

}  // namespace

Cores start_other_cores(unsigned wanted, TscClock& clock, LogSink& log) {
    if (!local_apic_present()) return {};
    const ProcessorList listed = parse_madt(acpi_table("APIC"));
    const uint32_t self = local_apic_id();
    name_first_core(self);
    uint32_t others[ProcessorList::kMax];
    size_t count = 0;
    for (const uint32_t id : listed.ids()) {
        if (id != self && local_apic_reaches(id)) others[count++] = id;
    }
    const auto found = static_cast<unsigned>(count + 1);
    const unsigned most = std::min(found, kMaxCores);
    wanted = wanted == 0 ? most : std::min(wanted, most);
    if (wanted > 1 && low_page() != 0) {
        workers.initialise(parking);
        start_cores({others, count}, wanted, low_page(), clock, log);
    }
    return {found, core_count(), workers.count() > 1 ? &workers : nullptr};
}

void stop_other_cores() {
    const unsigned self = core_number();
    for (unsigned core = 0; core < core_count(); ++core) {
        if (core != self) local_apic_send(apic_id_of_core(core), kIpiNmi, 0);
    }
}

}  // namespace bareflow

/// The rest of a core's life.
extern "C" [[noreturn]] void ap_main(uint32_t core) {
    using namespace bareflow;
    load_tables_of_core(core);
    prepare_other_core();
    enable_local_apic_of_this_core();
    add_core(local_apic_id());
    core_up.store(core, std::memory_order_release);
    workers.serve(core);
    cpu::halt_forever();
}
