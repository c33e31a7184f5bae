// General registers, flags, jumps and the stack, as far as routines use them (Intel SDM 2).
#include <bit>
#include <map>

#include "tests/oracle/machine.h"

namespace bareflow {
namespace {

uint64_t mask_of(const Instruction& i) { return i.bytes(0) == 4 ? UINT32_MAX : UINT64_MAX; }
uint64_t sign_of(const Instruction& i) { return i.bytes(0) == 4 ? 1ull << 31 : 1ull << 63; }

void set_result_flags(Machine& m, const Instruction& i, uint64_t result) {
    m.flags.known = true;
    m.flags.zero = (result & mask_of(i)) == 0;
    m.flags.sign = (result & sign_of(i)) != 0;
}
uint64_t sum(Machine& m, const Instruction& i, uint64_t a, uint64_t b, bool keep_carry = false) {
    const uint64_t result = (a + b) & mask_of(i);
    set_result_flags(m, i, result);
    if (!keep_carry) m.flags.carry = result < (a & mask_of(i));
    m.flags.overflow = (~(a ^ b) & (a ^ result) & sign_of(i)) != 0;
    return result;
}
uint64_t difference(Machine& m, const Instruction& i, uint64_t a, uint64_t b, bool keep_carry = false) {
    const uint64_t result = (a - b) & mask_of(i);
    set_result_flags(m, i, result);
    if (!keep_carry) m.flags.carry = (a & mask_of(i)) < (b & mask_of(i));
    m.flags.overflow = ((a ^ b) & (a ^ result) & sign_of(i)) != 0;
    return result;
}
uint64_t logical(Machine& m, const Instruction& i, uint64_t result) {
    set_result_flags(m, i, result);
    m.flags.carry = m.flags.overflow = false;
    return result & mask_of(i);
}

void scan_forward(Machine& m, const Instruction& i) {
    const uint64_t bits = m.value(i, 1) & mask_of(i);
    if (bits == 0) throw Violation("looks for a bit where there is none: the result is undefined");
    m.set_value(i, 0, static_cast<uint64_t>(std::countr_zero(bits)));
    m.flags.known = false;
}

void push(Machine& m, const Instruction& i) {
    const uint64_t rsp = m.gp(Machine::kRsp) - sizeof(uint64_t);
    const uint64_t value = m.any_gp(static_cast<unsigned>(ZydisRegisterGetId(i.operands[0].reg.value)));
    m.set_gp(Machine::kRsp, rsp);
    m.store(rsp, &value, sizeof value);
}
void pop(Machine& m, const Instruction& i) {
    uint64_t value;
    const uint64_t rsp = m.gp(Machine::kRsp);
    m.load(rsp, &value, sizeof value);
    m.set_gp(Machine::kRsp, rsp + sizeof value);
    m.set_value(i, 0, value);
}
void ret(Machine& m, const Instruction&) {
    if (m.gp(Machine::kRsp) != m.entry_rsp())
        throw Violation("rsp is off by " +
                        std::to_string(static_cast<int64_t>(m.gp(Machine::kRsp) - m.entry_rsp())));
    m.returned = true;
}

using Flags = Machine::Flags;
bool is_zero(const Flags& f) { return f.zero; }
bool is_not_zero(const Flags& f) { return !f.zero; }
bool is_below(const Flags& f) { return f.carry; }
bool is_not_below(const Flags& f) { return !f.carry; }
bool is_below_or_equal(const Flags& f) { return f.carry || f.zero; }
bool is_above(const Flags& f) { return !f.carry && !f.zero; }
bool is_less(const Flags& f) { return f.sign != f.overflow; }
bool is_not_less(const Flags& f) { return f.sign == f.overflow; }

bool is_unordered(const Flags& f) { return f.parity; }
bool is_ordered(const Flags& f) { return !f.parity; }

template <bool (*kCondition)(const Flags&)>
void jump_if(Machine& m, const Instruction& i) {
    if (!m.flags.known) throw Violation("jumps on flags that nothing set");
    if (kCondition(m.flags)) m.ip += static_cast<uint64_t>(i.operands[0].imm.value.s);
}

const std::map<ZydisMnemonic, Handler>& handlers() {
    using M = Machine;
    using I = Instruction;
    static const std::map<ZydisMnemonic, Handler> table = {
        {ZYDIS_MNEMONIC_MOV, [](M& m, const I& i) { m.set_value(i, 0, m.value(i, 1)); }},
        {ZYDIS_MNEMONIC_LEA, [](M& m, const I& i) { m.set_value(i, 0, m.address_of(i, 1)); }},
        {ZYDIS_MNEMONIC_ADD,
         [](M& m, const I& i) { m.set_value(i, 0, sum(m, i, m.value(i, 0), m.value(i, 1))); }},
        {ZYDIS_MNEMONIC_SUB,
         [](M& m, const I& i) { m.set_value(i, 0, difference(m, i, m.value(i, 0), m.value(i, 1))); }},
        {ZYDIS_MNEMONIC_CMP, [](M& m, const I& i) { difference(m, i, m.value(i, 0), m.value(i, 1)); }},
        {ZYDIS_MNEMONIC_AND,
         [](M& m, const I& i) { m.set_value(i, 0, logical(m, i, m.value(i, 0) & m.value(i, 1))); }},
        {ZYDIS_MNEMONIC_TEST, [](M& m, const I& i) { logical(m, i, m.value(i, 0) & m.value(i, 1)); }},
        {ZYDIS_MNEMONIC_XOR,
         [](M& m, const I& i) {
             if (!i.is_memory(1) && i.operands[0].reg.value == i.operands[1].reg.value)
                 return m.set_value(i, 0, logical(m, i, 0));  // whatever it held
             m.set_value(i, 0, logical(m, i, m.value(i, 0) ^ m.value(i, 1)));
         }},
        {ZYDIS_MNEMONIC_INC, [](M& m, const I& i) { m.set_value(i, 0, sum(m, i, m.value(i, 0), 1, true)); }},
        {ZYDIS_MNEMONIC_DEC,
         [](M& m, const I& i) { m.set_value(i, 0, difference(m, i, m.value(i, 0), 1, true)); }},
        {ZYDIS_MNEMONIC_PUSH, push},
        {ZYDIS_MNEMONIC_POP, pop},
        {ZYDIS_MNEMONIC_RET, ret},
        {ZYDIS_MNEMONIC_JMP,
         [](M& m, const I& i) { m.ip += static_cast<uint64_t>(i.operands[0].imm.value.s); }},
        {ZYDIS_MNEMONIC_JZ, jump_if<is_zero>},
        {ZYDIS_MNEMONIC_JNZ, jump_if<is_not_zero>},
        {ZYDIS_MNEMONIC_JB, jump_if<is_below>},
        {ZYDIS_MNEMONIC_JNB, jump_if<is_not_below>},
        {ZYDIS_MNEMONIC_JBE, jump_if<is_below_or_equal>},
        {ZYDIS_MNEMONIC_JNBE, jump_if<is_above>},
        {ZYDIS_MNEMONIC_JL, jump_if<is_less>},
        {ZYDIS_MNEMONIC_JNL, jump_if<is_not_less>},
        {ZYDIS_MNEMONIC_JP, jump_if<is_unordered>},
        {ZYDIS_MNEMONIC_JNP, jump_if<is_ordered>},
        {ZYDIS_MNEMONIC_BSF, scan_forward},
        {ZYDIS_MNEMONIC_NOP, [](M&, const I&) {}},
        {ZYDIS_MNEMONIC_PREFETCHT0,
         [](M& m, const I& i) { m.address_of(i, 0); }},  // a hint: no address faults
        {ZYDIS_MNEMONIC_PREFETCHT1, [](M& m, const I& i) { m.address_of(i, 0); }},
        {ZYDIS_MNEMONIC_PREFETCHNTA, [](M& m, const I& i) { m.address_of(i, 0); }},
    };
    return table;
}

}  // namespace

Handler general_handler(ZydisMnemonic mnemonic) {
    const auto found = handlers().find(mnemonic);
    return found == handlers().end() ? nullptr : found->second;
}

}  // namespace bareflow
