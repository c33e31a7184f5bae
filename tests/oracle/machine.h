// The simulated processor that routines are interpreted on (interpreter.h): registers that know which of their parts were
// ever written, and memory of which exactly the named regions may be touched.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/oracle/routine_memory.h"

namespace bareflow {

/// What a routine did that it must not; ends the run.
struct Violation : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Up to 64 bytes in 32-bit lanes; bit i of `known` says whether lane i was ever written.
struct VectorValue {
    std::array<uint32_t, 16> lanes{};
    uint32_t known = 0;
};
constexpr uint32_t lanes_mask(unsigned lanes) { return (1u << lanes) - 1; }

class Machine;
struct Instruction;
using Handler = void (*)(Machine&, const Instruction&);

struct Instruction {
    ZydisDecodedInstruction info{};
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT]{};  ///< explicit ones, without the mask
    unsigned count = 0;
    Handler handler = nullptr;

    bool is_memory(unsigned i) const { return operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY; }
    /// Of a register its own width: Zydis gives vextractf128's source, a ymm, 128 bits.
    unsigned bytes(unsigned i) const {
        const ZydisDecodedOperand& operand = operands[i];
        if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return operand.size / 8u;
        return ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, operand.reg.value) / 8u;
    }
    bool legacy() const { return info.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY; }
    uint8_t immediate() const { return static_cast<uint8_t>(operands[count - 1].imm.value.u); }
};

class Machine {
 public:
    static constexpr size_t kStackBytes = 4096, kRedZone = 128;
    static constexpr unsigned kRsp = 4, kRdi = 7;

    /// `constants`: the part of the code that may be read as data.
    Machine(std::vector<MemoryRegion> regions, MemoryRegion constants);

    // ---- general registers
    uint64_t gp(unsigned id) const;
    void set_gp(unsigned id, uint64_t value) {
        gp_[id] = value;
        gp_known_ |= 1u << id;
    }
    /// Its value whether it was written or not: what a push does.
    uint64_t any_gp(unsigned id) const { return gp_[id]; }
    struct Flags {
        bool known = false, zero = false, sign = false, carry = false, overflow = false;
        bool parity = false;  ///< as comparisons of floats set it: unordered
    } flags;

    // ---- vector registers
    std::array<VectorValue, 32> vectors;

    // ---- memory
    void load(uint64_t address, void* to, size_t bytes);
    void store(uint64_t address, const void* from, size_t bytes);
    uint64_t entry_rsp() const { return entry_rsp_; }

    // ---- operands
    uint64_t address_of(const Instruction& i, unsigned operand) const;
    /// The first `lanes` lanes of a register or memory operand (one element for all, if it is broadcast). What comes of
    /// lanes that were never written counts as never written; storing it is a violation.
    VectorValue vector(const Instruction& i, unsigned operand, unsigned lanes);
    /// VEX and EVEX clear the register above `lanes`, legacy instructions keep it.
    void set_vector(const Instruction& i, unsigned operand, const VectorValue& value, unsigned lanes);
    uint64_t value(const Instruction& i, unsigned operand);
    void set_value(const Instruction& i, unsigned operand, uint64_t value);

    uint64_t ip = 0;
    bool returned = false;

 private:
    struct Region : MemoryRegion {
        std::vector<bool> written;
    };
    Region& region_of(uint64_t address, size_t bytes, bool write);

    std::array<uint64_t, 16> gp_{};
    uint32_t gp_known_ = 0;
    std::vector<Region> regions_;
    size_t last_region_ = 0;
    alignas(64) std::array<uint8_t, kStackBytes> stack_{};
    std::array<bool, kStackBytes> stack_known_{};
    uint64_t entry_rsp_ = 0;
};

/// Its handler, or nullptr where the mnemonic is not simulated.
Handler general_handler(ZydisMnemonic mnemonic);
Handler vector_handler(ZydisMnemonic mnemonic);

}  // namespace bareflow
