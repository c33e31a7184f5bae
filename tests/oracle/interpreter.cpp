#include "tests/oracle/interpreter.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>

#include "tests/oracle/decoder.h"
#include "tests/oracle/machine.h"

namespace bareflow {
namespace {

constexpr uint64_t kMaxSteps = 20'000'000;

/// Whether a CPU that has `isa` (and FMA, in that class) has the instruction (routine_emitter.cpp, runs_on()).
bool belongs_to(const ZydisDecodedInstruction& info, Isa isa, NumericClass numerics) {
    constexpr std::string_view kAlways[] = {"I86",      "I386",     "I486REAL", "I186",
                                            "LONGMODE", "FAT_NOP",  "PPRO",     "SSE",
                                            "SSE2",     "SSEMXCSR", "SSE2MMX",  "SSE_PREFETCH"};
    constexpr std::string_view kAvx2[] = {"AVX", "AVX2", "F16C"};
    const std::string_view set = ZydisISASetGetString(info.meta.isa_set);
    if (std::ranges::find(kAlways, set) != std::end(kAlways)) return true;
    if (isa == Isa::kSsse3) return set == "SSSE3";
    if (!has_vex(isa)) return false;
    if (std::ranges::find(kAvx2, set) != std::end(kAvx2)) return true;
    if (set == "FMA") return numerics == NumericClass::kFma;
    if (set.find("VNNI") != set.npos) return has_vnni(isa) && set.starts_with("AVX512") == has_evex(isa);
    return has_evex(isa) &&
           (set.starts_with("AVX512F_") || set.starts_with("AVX512BW_") || set.starts_with("AVX512DQ_"));
}

class Run {
 public:
    Run(const RoutineCase& c, ByteSpan code, const RoutineMemory& memory)
        : case_(c), code_(code), decoded_(code.size()), end_(end_of_instructions(code)) {
        ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        MemoryRegion constants{"its constants", address(end_), code.size() - end_, false, true};
        machine_ = std::make_unique<Machine>(memory.regions(), constants);
        machine_->set_gp(Machine::kRdi, reinterpret_cast<uint64_t>(memory.arguments()));
        machine_->ip = address(0);
        for (unsigned id = 0; id < kept_.size(); ++id) kept_[id] = machine_->any_gp(id);
    }

    Interpreted run() {
        size_t offset = 0;
        try {
            while (!machine_->returned) {
                offset = machine_->ip - address(0);
                step(offset);
                if (++steps_ > kMaxSteps) throw Violation("does not come to an end");
            }
            check_return();
        } catch (const Violation& violation) {
            return {std::string(violation.what()) + ", at offset " + std::to_string(offset) + ": " +
                        (offset < end_ ? x86::disassemble(code_.subspan(offset)) : "(not code)"),
                    steps_};
        }
        return {"", steps_};
    }

    static size_t end_of_instructions(ByteSpan code) {
        size_t at = 0;
        constexpr uint8_t kRet = 0xC3;
        while (at < code.size()) {
            const unsigned length = x86::decode_branch(code, at).length;
            if (length == 0) break;
            if (code[at] == kRet) return at + 1;
            at += length;
        }
        return at;
    }

 private:
    uint64_t address(size_t offset) const { return reinterpret_cast<uint64_t>(code_.data()) + offset; }

    void step(size_t offset) {
        if (offset >= end_) throw Violation("runs out of its code");
        std::unique_ptr<Instruction>& instruction = decoded_[offset];
        if (!instruction) instruction = decode(offset);
        instruction->handler(*machine_, *instruction);  // a jump adds its distance
        machine_->ip += instruction->info.length;
    }

    std::unique_ptr<Instruction> decode(size_t offset) {
        auto made = std::make_unique<Instruction>();
        ZydisDecodedOperand all[ZYDIS_MAX_OPERAND_COUNT];
        if (!ZYAN_SUCCESS(
                ZydisDecoderDecodeFull(&decoder_, code_.data() + offset, end_ - offset, &made->info, all)))
            throw Violation("not an instruction");
        for (unsigned i = 0; i < made->info.operand_count; ++i) {
            const bool is_mask = all[i].encoding == ZYDIS_OPERAND_ENCODING_MASK;
            if (all[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN || is_mask) continue;
            made->operands[made->count++] = all[i];
        }
        const ZydisRegister mask = made->info.avx.mask.reg;
        if (mask != ZYDIS_REGISTER_NONE && mask != ZYDIS_REGISTER_K0)
            throw Violation("masks are not simulated");
        if (!belongs_to(made->info, case_.key.isa, case_.key.numerics))
            throw Violation(std::string("of another ISA than the key's: ") +
                            ZydisISASetGetString(made->info.meta.isa_set));
        made->handler = general_handler(made->info.mnemonic);
        if (made->handler == nullptr) made->handler = vector_handler(made->info.mnemonic);
        if (made->handler == nullptr)
            throw Violation(std::string("a mnemonic that is not simulated: ") +
                            ZydisMnemonicGetString(made->info.mnemonic));
        return made;
    }

    /// What the System V ABI promises to the caller; rsp was looked at by `ret`.
    void check_return() const {
        constexpr struct {
            unsigned id;
            const char* name;
        } kKept[] = {{3, "rbx"}, {5, "rbp"}, {12, "r12"}, {13, "r13"}, {14, "r14"}, {15, "r15"}};
        for (const auto& reg : kKept) {
            if (machine_->any_gp(reg.id) != kept_[reg.id])
                throw Violation(std::string("clobbers ") + reg.name);
        }
        for (unsigned reg = 0; reg < 16; ++reg) {
            const VectorValue& vector = machine_->vectors[reg];
            constexpr uint32_t kUpper = lanes_mask(16) & ~lanes_mask(4);
            const bool untouched = (vector.known & kUpper) == 0;
            const bool clean =
                (vector.known & kUpper) == kUpper &&
                std::all_of(vector.lanes.begin() + 4, vector.lanes.end(), [](uint32_t l) { return l == 0; });
            if (!has_vex(case_.key.isa) ? !untouched : !clean)
                throw Violation("leaves upper halves dirty: vzeroupper is missing");
        }
    }

    const RoutineCase& case_;
    ByteSpan code_;
    ZydisDecoder decoder_{};
    std::vector<std::unique_ptr<Instruction>> decoded_;
    size_t end_;  ///< behind the return; constants follow
    std::unique_ptr<Machine> machine_;
    std::array<uint64_t, 16> kept_{};
    uint64_t steps_ = 0;
};

}  // namespace

Interpreted interpret(const RoutineCase& c, ByteSpan code, RoutineMemory& memory) {
    Interpreted result = Run(c, code, memory).run();
    if (result.wrong.empty()) result.wrong = memory.difference();
    return result;
}
Interpreted interpret(const RoutineCase& c, ByteSpan code) {
    RoutineMemory memory(c);
    return interpret(c, code, memory);
}

size_t count_instructions(ByteSpan code) {
    size_t at = 0, count = 0;
    for (const size_t end = Run::end_of_instructions(code); at < end; ++count) {
        const unsigned length = x86::decode_branch(code, at).length;
        if (length == 0) break;
        at += length;
    }
    return count;
}

}  // namespace bareflow
