#include "emitter/asmjit_assembler.h"

#include <asmjit/x86.h>

#include <new>

#include "arch/base/panic.h"

namespace bareflow::x86 {
namespace {

namespace aj = asmjit;

constexpr uint16_t kInstructionIds[] = {
#define FORM(form, method, instruction, ...) aj::x86::Inst::kId##instruction,
#include "emitter/instructions.inc"
};

/// Room for asmjit's records of kMaxLabels labels and kMaxPendingUses uses.
constexpr size_t kZoneSize = 30 * 1024;

aj::x86::Gp to_asmjit(Gp reg) {
    switch (reg.bytes()) {
        case 1:
            return aj::x86::gpb_lo(reg.id());
        case 2:
            return aj::x86::gpw(reg.id());
        case 4:
            return aj::x86::gpd(reg.id());
        default:
            return aj::x86::gpq(reg.id());
    }
}

aj::x86::Vec to_asmjit(Vec reg) {
    switch (reg.length()) {
        case VecLength::kXmm:
            return aj::x86::xmm(reg.id());
        case VecLength::kYmm:
            return aj::x86::ymm(reg.id());
        default:
            return aj::x86::zmm(reg.id());
    }
}

aj::x86::Mem to_asmjit(Mem memory) {
    aj::x86::Mem result;
    if (memory.is_label()) {
        result = aj::x86::ptr(aj::Label(memory.label().id), memory.displacement());
    } else if (memory.has_base()) {
        const aj::x86::Gp base = aj::x86::gpq(memory.base());
        result = memory.has_index() ? aj::x86::ptr(base, aj::x86::gpq(memory.index()), memory.scale_log2(),
                                                   memory.displacement())
                                    : aj::x86::ptr(base, memory.displacement());
    } else {
        result = aj::x86::ptr(uint64_t(int64_t{memory.displacement()}), aj::x86::gpq(memory.index()),
                              memory.scale_log2());
    }
    result.setSize(memory.size());
    return result;
}

/// How many times the instruction's vectors hold a broadcast element.
aj::x86::Mem::Broadcast broadcast_of(Encoding encoding, const AnyOperand (&operands)[kMaxOperands]) {
    for (const AnyOperand& operand : operands) {
        if (operand.kind() != AnyOperand::Kind::kVec) continue;
        const unsigned elements = bytes_of(operand.vec().length()) >> encoding.broadcast_shift();
        return static_cast<aj::x86::Mem::Broadcast>(std::countr_zero(elements));
    }
    return aj::x86::Mem::Broadcast::kNone;
}

unsigned register_count(const FormEncoding& encoding, unsigned position) {
    return encoding.encoding.has_evex() && encoding.roles[position] != Role::kIs4 ? 32 : 16;
}

/// asmjit's signatures of registers and of memory, by the bits that say which. 0: refused, or not plain.
constexpr aj::OperandSignature kVecSignatures[] = {aj::x86::Xmm::kSignature, aj::x86::Ymm::kSignature,
                                                   aj::x86::Zmm::kSignature, 0};
constexpr aj::OperandSignature kGpSignatures[] = {aj::x86::GpbLo::kSignature, aj::x86::Gpw::kSignature,
                                                  aj::x86::Gpd::kSignature, aj::x86::Gpq::kSignature};
constexpr aj::OperandSignature kBaseSignature = aj::OperandSignature::fromOpType(aj::OperandType::kMem) |
                                                aj::OperandSignature::fromMemBaseType(aj::RegType::kX86_Gpq);

constexpr aj::Operand kNoMoreOperands[3] = {};

/// A plain operand as asmjit has it; false if it needs a closer look.
inline bool convert_plain(aj::Operand& to, uint64_t bits, bool may_be_high) {
    using namespace operand_bits;
    const auto low = static_cast<uint32_t>(bits);
    if ((low & kIsMemory) != 0) {
        constexpr uint32_t kNoIndex = kNoRegister << kIndexShift;
        constexpr uint32_t kNotPlain =
            kHighId | kIsLabel | kBroadcast | kMask | kZeroing | kSize | kBadOperand | kBadDisplacement;
        if (((low & (kNotPlain | kNoIndex)) ^ kNoIndex) != 0) return false;
        to = aj::BaseMem(kBaseSignature, low & kId, 0, static_cast<int32_t>(bits >> 32));
        return true;
    }
    if ((low & kIsGp) != 0) {
        to = aj::BaseReg(kGpSignatures[(low & kWidth) >> kWidthShift], low & 15);
        return true;
    }
    const aj::OperandSignature signature = kVecSignatures[(low & kLength) >> kLengthShift];
    if ((low & (kMask | kZeroing)) != 0 || signature.bits() == 0 || ((low & kHighId) != 0 && !may_be_high))
        return false;
    to = aj::BaseReg(signature, low & kId);
    return true;
}

/// What asmjit's validation depends on: everything but displacements. A routine repeats few such instructions many
/// times, and validation takes longer than encoding, so what passed is remembered.
struct ValidatedInstruction {
    uint32_t form = UINT32_MAX;
    uint32_t kinds = 0;
    uint32_t operands[kMaxOperands] = {};
    bool operator==(const ValidatedInstruction&) const = default;

    ValidatedInstruction() = default;
    ValidatedInstruction(Form which, const AnyOperand (&list)[kMaxOperands])
        : form(static_cast<uint32_t>(which)) {
        for (unsigned i = 0; i < kMaxOperands; ++i) {
            kinds = kinds << 8 | static_cast<uint32_t>(list[i].kind());
            operands[i] = list[i].low();
        }
    }
    /// Of plain operands, which carry their kinds in their bits.
    ValidatedInstruction(Form which, const uint64_t (&plain)[3]) : form(static_cast<uint32_t>(which)) {
        for (unsigned i = 0; i < 3; ++i) operands[i] = static_cast<uint32_t>(plain[i]);
    }
    uint32_t hash() const {
        constexpr uint32_t kGolden = 0x9E3779B1;  // 2^32 divided by the golden ratio: Knuth 6.4
        uint32_t result = form;
        for (uint32_t operand : operands) result = (result ^ operand) * kGolden;
        return result;
    }
};
constexpr int kValidatedShift = 32 - 6;
constexpr size_t kValidatedCount = 64;

}  // namespace

struct AsmjitAssembler::State {
    alignas(16) uint8_t zone[kZoneSize];
    aj::Support::Temporary zone_view{zone, sizeof(zone)};
    aj::CodeHolder code{&zone_view};
    aj::x86::Assembler assembler;
    bool validates = true;
    ValidatedInstruction validated[kValidatedCount];
};

AsmjitAssembler::AsmjitAssembler(std::span<uint8_t> buffer, Validation validation) : start_(buffer.data()) {
    static_assert(sizeof(State) <= kStorageSize && alignof(State) <= 16);
    new (storage_) State;
    aj::CodeHolder& code = state().code;
    check(code.init(aj::Environment(aj::Arch::kX64)));
    aj::CodeBuffer& target = code.textSection()->buffer();
    target._data = buffer.data();
    target._size = 0;
    target._capacity = buffer.size();
    target._flags = aj::CodeBufferFlags::kIsExternal | aj::CodeBufferFlags::kIsFixed;
    check(code.attach(&state().assembler));
    state().assembler.addEncodingOptions(aj::EncodingOptions::kOptimizedAlign);
    state().validates = validation == Validation::kOn;
}

AsmjitAssembler::~AsmjitAssembler() { state().~State(); }

void AsmjitAssembler::emit_plain(PlainForm form, const uint64_t first, uint64_t second, uint64_t third) {
    aj::Operand list[kMaxPlain];
    bool plain = error_ == AssemblerError::kNone;
    switch (form.count) {
        case 3:
            plain = plain && convert_plain(list[2], third, form.may_be_high);
            [[fallthrough]];
        case 2:
            plain = plain && convert_plain(list[1], second, form.may_be_high);
            [[fallthrough]];
        default:
            plain = plain && convert_plain(list[0], first, form.may_be_high);
    }
    if (!plain) [[unlikely]] {
        const uint64_t bits[kMaxPlain] = {first, second, third};
        AnyOperand any[kMaxOperands];
        for (unsigned i = 0; i < form.count; ++i) any[i] = AnyOperand::from_bits(bits[i]);
        return emit_form(form.form, any);
    }
    const uint32_t id = kInstructionIds[static_cast<unsigned>(form.form)];
    State& s = state();
    if (s.validates) {
        const ValidatedInstruction wanted(form.form, {first, second, third});
        ValidatedInstruction& known = s.validated[wanted.hash() >> kValidatedShift];
        if (!(known == wanted)) {
            check(aj::InstAPI::validate(aj::Arch::kX64, aj::BaseInst(id), list, form.count));
            if (error_ != AssemblerError::kNone) return;
            known = wanted;
        }
    }
    const aj::Error error = s.assembler._emit(id, list[0], list[1], list[2], kNoMoreOperands);
    if (error != aj::kErrorOk) [[unlikely]]
        check(error);
}

void AsmjitAssembler::emit_form(Form form, const AnyOperand (&operands)[kMaxOperands]) {
    if (error_ != AssemblerError::kNone) return;
    using Kind = AnyOperand::Kind;
    const FormEncoding& encoding = encoding_of(form);
    aj::x86::Assembler& assembler = state().assembler;
    aj::InstOptions options = wants_vex(form) ? aj::InstOptions::kX86_Vex : aj::InstOptions::kNone;
    aj::Operand list[kMaxOperands];
    unsigned count = 0;
    for (; count < kMaxOperands && operands[count].kind() != Kind::kNone; ++count) {
        const unsigned i = count;
        const AnyOperand& operand = operands[i];
        if (i != 0 && operand.masking() != 0) return fail(AssemblerError::kNotEncodable);
        switch (operand.kind()) {
            case Kind::kVec:
                // asmjit itself takes xmm16 where there is no EVEX, and encodes something else.
                if (!operand.vec().exists() || operand.vec().id() >= register_count(encoding, i)) {
                    return fail(AssemblerError::kNotEncodable);
                }
                list[i] = to_asmjit(operand.vec());
                break;
            case Kind::kGp:
                list[i] = to_asmjit(operand.gp());
                break;
            case Kind::kMask:
                list[i] = aj::x86::k(operand.mask_register().id);
                break;
            case Kind::kMemory: {
                const Mem memory = operand.memory();
                if (memory.bad_displacement()) return fail(AssemblerError::kDisplacement);
                if (memory.bad_operand() || (memory.is_broadcast() && !encoding.encoding.can_broadcast())) {
                    return fail(AssemblerError::kNotEncodable);
                }
                aj::x86::Mem converted = to_asmjit(memory);
                if (memory.is_broadcast()) converted.setBroadcast(broadcast_of(encoding.encoding, operands));
                list[i] = converted;
                break;
            }
            case Kind::kImmediate:
                list[i] = aj::Imm(operand.immediate());
                break;
            case Kind::kLabel:
                list[i] = aj::Label(operand.label().id);
                if (operand.label().in_short_reach) options |= aj::InstOptions::kShortForm;
                break;
            case Kind::kNone:
                break;
        }
    }
    if (shifts_by_cl(form)) list[count++] = aj::x86::cl;
    const uint32_t masking = operands[0].masking();
    if (masking != 0) {
        if (!encoding.encoding.can_mask()) return fail(AssemblerError::kNotEncodable);
        const uint32_t id = (masking & operand_bits::kMask) >> operand_bits::kMaskShift;
        if (id == 0) return fail(AssemblerError::kNotEncodable);
        assembler.setExtraReg(aj::x86::k(id));
        if ((masking & operand_bits::kZeroing) != 0) options |= aj::InstOptions::kX86_ZMask;
    }
    const uint32_t id = kInstructionIds[static_cast<unsigned>(form)];
    if (state().validates) {
        const ValidatedInstruction wanted(form, operands);
        ValidatedInstruction& known = state().validated[wanted.hash() >> kValidatedShift];
        if (!(known == wanted)) {
            const aj::BaseInst instruction(id, options, assembler.extraReg());
            check(aj::InstAPI::validate(aj::Arch::kX64, instruction, list, count));
            if (error_ != AssemblerError::kNone) return;
            known = wanted;
        }
    }
    assembler.setInstOptions(options);
    check(assembler.emit(id, list[0], list[1], list[2], list[3]));
    if (state().code.unresolvedLinkCount() > kMaxPendingUses) fail(AssemblerError::kTooManyLabels);
}

void AsmjitAssembler::move_constant(Gp destination, int64_t value) {
    if (error_ != AssemblerError::kNone) return;
    check(state().assembler.mov(to_asmjit(destination), value));
}

Label AsmjitAssembler::new_label() {
    if (error_ != AssemblerError::kNone) return {};
    const uint32_t id =
        state().code.labelCount() < kMaxLabels ? state().assembler.newLabel().id() : kMaxLabels;
    if (id >= kMaxLabels) {
        fail(AssemblerError::kTooManyLabels);
        return {};
    }
    return {static_cast<uint8_t>(id)};
}

void AsmjitAssembler::bind(Label label) {
    if (error_ == AssemblerError::kNone) check(state().assembler.bind(aj::Label(label.id)));
}

void AsmjitAssembler::align(unsigned alignment) {
    if (error_ == AssemblerError::kNone) check(state().assembler.align(aj::AlignMode::kCode, alignment));
}

void AsmjitAssembler::embed(ByteSpan bytes) {
    if (error_ == AssemblerError::kNone) check(state().assembler.embed(bytes.data(), bytes.size()));
}

size_t AsmjitAssembler::size() const { return state().assembler.offset(); }

AssemblerError AsmjitAssembler::finish() {
    if (state().code.hasUnresolvedLinks()) fail(AssemblerError::kUnboundLabel);
    return error_;
}

void AsmjitAssembler::check(uint32_t asmjit_error) {
    switch (asmjit_error) {
        case aj::kErrorOk:
            return;
        case aj::kErrorTooLarge:
            return fail(AssemblerError::kBufferFull);
        case aj::kErrorOutOfMemory:
            return fail(AssemblerError::kTooManyLabels);
        case aj::kErrorInvalidDisplacement:
            return fail(AssemblerError::kDisplacement);
        case aj::kErrorLabelAlreadyBound:
        case aj::kErrorInvalidLabel:
            return fail(AssemblerError::kBoundTwice);
        default:
            return fail(AssemblerError::kNotEncodable);
    }
}

void AsmjitAssembler::fail(AssemblerError error) {
    if (error_ == AssemblerError::kNone) error_ = error;
}

static_assert(Assembler<AsmjitAssembler>);

}  // namespace bareflow::x86

// What libasmjit.a wants of a C library beyond memcpy and its kin, renamed by asmjit.mk. Emission allocates nothing but
// from the block in State; where that ends, asmjit gets nullptr here and reports kErrorOutOfMemory, which check() turns
// into an error of the assembler.
extern "C" {
void* bareflow_asmjit_malloc(size_t) { return nullptr; }
void* bareflow_asmjit_realloc(void*, size_t) { return nullptr; }
void bareflow_asmjit_free(void*) {}
void bareflow_asmjit_delete(void*, size_t) {}
[[noreturn]] void bareflow_asmjit_abort() { PANIC("asmjit gave up: its own state is broken"); }
}
