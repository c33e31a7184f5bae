#include "tests/oracle/machine.h"

#include <algorithm>
#include <cstring>

namespace bareflow {
namespace {

std::string hex(uint64_t value) {
    char text[20];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}
unsigned id_of(ZydisRegister reg) { return static_cast<unsigned>(ZydisRegisterGetId(reg)); }

}  // namespace

Machine::Machine(std::vector<MemoryRegion> regions, MemoryRegion constants) {
    regions.push_back(std::move(constants));
    for (MemoryRegion& region : regions) {
        const size_t tracked = region.readable_at_once ? 0 : region.size;
        regions_.push_back({std::move(region), std::vector<bool>(tracked)});
    }
    // As at a call: the return address lies at a place that is 8 beyond a multiple of 16.
    const auto top = reinterpret_cast<uint64_t>(stack_.data() + kStackBytes - 64);
    entry_rsp_ = top / 16 * 16 - 8;
    set_gp(kRsp, entry_rsp_);
    for (unsigned id = 0; id < gp_.size(); ++id) {
        if (id != kRsp) gp_[id] = 0x5AFE'0000'1234'5600 + id;
    }
}

uint64_t Machine::gp(unsigned id) const {
    if ((gp_known_ >> id & 1) == 0)
        throw Violation("reads a general register that it never wrote: number " + std::to_string(id));
    return gp_[id];
}

Machine::Region& Machine::region_of(uint64_t address, size_t bytes, bool write) {
    const auto holds = [&](const Region& region) {
        return address >= region.begin && address - region.begin <= region.size &&
               bytes <= region.size - (address - region.begin);
    };
    if (!holds(regions_[last_region_])) {
        const auto found = std::ranges::find_if(regions_, holds);
        if (found == regions_.end()) {
            std::string nearest;
            for (const Region& region : regions_) {
                const auto off = static_cast<int64_t>(address - region.begin);
                if (off > -4096 && off < static_cast<int64_t>(region.size) + 4096)
                    nearest = ", byte " + std::to_string(off) + " of the " + std::to_string(region.size) +
                              " of " + region.name;
            }
            throw Violation((write ? "writes " : "reads ") + std::to_string(bytes) + " bytes at " +
                            hex(address) + ", outside of everything it was given" + nearest);
        }
        last_region_ = static_cast<size_t>(found - regions_.begin());
    }
    if (write && !regions_[last_region_].writable)
        throw Violation("writes to " + regions_[last_region_].name);
    return regions_[last_region_];
}

void Machine::load(uint64_t address, void* to, size_t bytes) {
    const auto stack = reinterpret_cast<uint64_t>(stack_.data());
    if (address >= stack && address < stack + kStackBytes) {
        if (address < gp_[kRsp] - kRedZone || address + bytes > entry_rsp_ + sizeof(uint64_t))
            throw Violation("reads the stack outside of its frame and red zone, at rsp " +
                            std::to_string(static_cast<int64_t>(address - gp_[kRsp])));
        for (size_t i = 0; i < bytes; ++i) {
            if (!stack_known_[address - stack + i]) throw Violation("reads stack that it never wrote");
        }
    } else {
        const Region& region = region_of(address, bytes, false);
        for (size_t i = 0; i < bytes && !region.written.empty(); ++i) {
            if (!region.written[address - region.begin + i])
                throw Violation("reads " + region.name + " before it wrote it");
        }
    }
    std::memcpy(to, reinterpret_cast<const void*>(address), bytes);
}

void Machine::store(uint64_t address, const void* from, size_t bytes) {
    const auto stack = reinterpret_cast<uint64_t>(stack_.data());
    if (address >= stack && address < stack + kStackBytes) {
        if (address < gp_[kRsp] - kRedZone || address + bytes > entry_rsp_)
            throw Violation("writes the stack outside of its frame and red zone, at rsp " +
                            std::to_string(static_cast<int64_t>(address - gp_[kRsp])));
        std::fill_n(stack_known_.begin() + static_cast<ptrdiff_t>(address - stack), bytes, true);
    } else {
        Region& region = region_of(address, bytes, true);
        if (!region.written.empty())
            std::fill_n(region.written.begin() + static_cast<ptrdiff_t>(address - region.begin), bytes, true);
    }
    std::memcpy(reinterpret_cast<void*>(address), from, bytes);
}

uint64_t Machine::address_of(const Instruction& i, unsigned operand) const {
    const auto& mem = i.operands[operand].mem;
    auto address = static_cast<uint64_t>(mem.disp.value);
    if (mem.base == ZYDIS_REGISTER_RIP) return address + ip + i.info.length;
    if (mem.base != ZYDIS_REGISTER_NONE) address += gp(id_of(mem.base));
    if (mem.index != ZYDIS_REGISTER_NONE) address += gp(id_of(mem.index)) * mem.scale;
    return address;
}

VectorValue Machine::vector(const Instruction& i, unsigned operand, unsigned lanes) {
    if (!i.is_memory(operand)) return vectors[id_of(i.operands[operand].reg.value)];
    VectorValue result;
    const bool broadcast =
        i.info.avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID && !i.info.avx.broadcast.is_static;
    const size_t bytes = broadcast ? sizeof(uint32_t) : lanes * sizeof(uint32_t);
    const uint64_t address = address_of(i, operand);
    // Legacy instructions fault on 16 bytes that are not aligned, but for those that say so.
    const bool unaligned =
        i.info.mnemonic == ZYDIS_MNEMONIC_MOVUPS || i.info.mnemonic == ZYDIS_MNEMONIC_MOVDQU;
    const bool aligned =
        i.info.mnemonic == ZYDIS_MNEMONIC_VMOVAPS || i.info.mnemonic == ZYDIS_MNEMONIC_VMOVDQA;
    if (((i.legacy() && bytes == 16 && !unaligned) || aligned) && address % bytes != 0)
        throw Violation("an access that must be aligned is not");
    load(address, result.lanes.data(), bytes);
    if (broadcast) result.lanes.fill(result.lanes[0]);
    result.known = lanes_mask(lanes);
    return result;
}

void Machine::set_vector(const Instruction& i, unsigned operand, const VectorValue& value, unsigned lanes) {
    if (i.is_memory(operand)) {
        if ((~value.known & lanes_mask(lanes)) != 0) throw Violation("stores lanes that it never wrote");
        const uint64_t address = address_of(i, operand);
        const bool aligned =
            i.info.mnemonic == ZYDIS_MNEMONIC_VMOVAPS || i.info.mnemonic == ZYDIS_MNEMONIC_MOVAPS;
        if (aligned && address % (lanes * sizeof(uint32_t)) != 0)
            throw Violation("an access that must be aligned is not");
        return store(address, value.lanes.data(), lanes * sizeof(uint32_t));
    }
    VectorValue& reg = vectors[id_of(i.operands[operand].reg.value)];
    for (unsigned lane = 0; lane < lanes; ++lane) reg.lanes[lane] = value.lanes[lane];
    reg.known = (reg.known & ~lanes_mask(lanes)) | (value.known & lanes_mask(lanes));
    if (i.legacy()) return;
    for (unsigned lane = lanes; lane < 16; ++lane) reg.lanes[lane] = 0;
    reg.known |= ~lanes_mask(lanes) & lanes_mask(16);
}

uint64_t Machine::value(const Instruction& i, unsigned operand) {
    const ZydisDecodedOperand& op = i.operands[operand];
    if (op.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return op.imm.value.u;
    uint64_t result = 0;
    if (op.type == ZYDIS_OPERAND_TYPE_MEMORY) {
        load(address_of(i, operand), &result, i.bytes(operand));
        return result;
    }
    result = gp(id_of(op.reg.value));
    return i.bytes(operand) == 4 ? static_cast<uint32_t>(result) : result;
}

void Machine::set_value(const Instruction& i, unsigned operand, uint64_t value) {
    if (i.is_memory(operand)) return store(address_of(i, operand), &value, i.bytes(operand));
    set_gp(id_of(i.operands[operand].reg.value),
           i.bytes(operand) == 4 ? static_cast<uint32_t>(value) : value);
}

}  // namespace bareflow
