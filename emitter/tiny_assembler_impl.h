// What TinyAssembler's methods share, as a template so that tests can instantiate it with wrong rules. Included by
// tiny_assembler.cpp and by those tests alone.
#pragma once

#include "emitter/prefix_evex.h"
#include "emitter/prefix_legacy.h"
#include "emitter/prefix_vex.h"
#include "emitter/tiny_assembler.h"

namespace bareflow::x86 {

// ---------------------------------------------------------------- any instruction
template <typename Rules>
void BasicTinyAssembler<Rules>::emit_any(Form which, const AnyOperand (&operands)[kMaxOperands]) {
    using namespace operand_bits;
    using Kind = AnyOperand::Kind;
    const FormEncoding& form = encoding_of(which);
    constexpr unsigned kRoles = static_cast<unsigned>(Role::kOpcode) + 1;
    AnyOperand in_role[kRoles];  // kNone: an immediate that the instruction's own function treats
    for (unsigned i = 0; i < kMaxOperands && operands[i].kind() != Kind::kNone; ++i) {
        in_role[static_cast<unsigned>(form.roles[i])] = operands[i];
    }
    const auto in = [&](Role role) -> const AnyOperand& { return in_role[static_cast<unsigned>(role)]; };
    const auto has = [&](Role role) { return in(role).kind() != Kind::kNone; };
    const bool is_vector = form.kind == FormEncoding::Kind::kVector;

    if (operands[0].kind() == Kind::kNone) return bare(form.encoding, is_vector, form.fixed_length);
    if (has(Role::kLabel)) return jump(form.encoding.opcode(), in(Role::kLabel).label());
    if (has(Role::kOpcode)) return push_pop(form.encoding, in(Role::kOpcode).gp());

    const RegMem rm = in(Role::kRm).memory();
    uint32_t reg = form.has_digit ? form.encoding.digit() : in(Role::kReg).low();
    if (form.kind == FormEncoding::Kind::kGp) {
        if (!has(Role::kNone)) return general(form, reg, rm);
        const int32_t value = static_cast<int32_t>(in(Role::kNone).immediate());
        if (has(Role::kReg)) return multiply_immediate(form, reg, rm, value);
        constexpr unsigned kShiftByImmediate = 0xC1;
        if (form.encoding.opcode() != kShiftByImmediate) return arithmetic_immediate(form, rm, value);
        return shift_immediate(form, rm, static_cast<uint8_t>(value));
    }

    Encoding encoding = form.encoding;
    const uint32_t gp = has(Role::kReg) && (reg & kIsGp) != 0 ? reg : rm.low();
    if (form.w_by_width && (gp & kWidth) == kWidth) encoding = encoding.with_w();
    uint32_t vvvv = in(Role::kVvvv).low(), length = form.fixed_length << kLengthShift;
    for (Role role : {Role::kReg, Role::kVvvv, Role::kRm}) {
        if (in(role).kind() != Kind::kVec) continue;
        length = in(role).low() & kLength;
        break;
    }
    bool bad = form.min256 && length == 0;
    unsigned immediate = static_cast<uint8_t>(in(Role::kImm).immediate());
    if (has(Role::kIs4)) immediate = tiny_detail::immediate_byte(in(Role::kIs4).vec(), length, bad);
    if (!is_vector)
        return legacy(encoding, reg, rm, static_cast<int32_t>(immediate), has(Role::kImm) ? 1 : 0);
    reg |= bad ? kLength : length;
    vvvv |= length;
    if (form.has_digit) {  // as in emit()
        constexpr uint32_t kMasking = kMask | kZeroing;
        reg |= vvvv & kMasking;
        vvvv &= ~kMasking;
    }
    vector_not_plain(encoding, reg, vvvv, rm, immediate);
}

// ---------------------------------------------------------------- vector instructions
/// Most instructions are plain: VEX, registers below 16, neither mask, broadcast, label nor immediate, lengths that agree,
/// and room in the buffer. They take this way.
template <typename Rules>
void BasicTinyAssembler<Rules>::vector(Encoding encoding, uint32_t reg, uint32_t vvvv, RegMem rm) {
    using namespace operand_bits;
    constexpr uint32_t kNotPlain =
        kHighId | kZmm | kIsLabel | kMask | kZeroing | kIsGp | kBadOperand | kBadDisplacement;
    const uint32_t low = rm.low();
    const uint32_t unequal = (reg ^ vvvv) | (rm.is_memory() ? 0 : reg ^ low);
    if ((((reg | vvvv | low) & kNotPlain) | (unequal & kLength)) != 0 || !has_room()) [[unlikely]] {
        return vector_not_plain(encoding, reg, vvvv, rm, 0);
    }
    uint8_t* const after_opcode = put(cursor_, vex_prefix_and_opcode<Rules>(encoding, reg, rm, vvvv));
    cursor_ = put(after_opcode, address<Rules>(reg, rm, 0));
}

template <typename Rules>
void BasicTinyAssembler<Rules>::vector_not_plain(Encoding encoding, uint32_t reg, uint32_t vvvv, RegMem rm,
                                                 unsigned immediate) {
    using namespace operand_bits;
    const uint32_t low = rm.low();
    const uint32_t length_field = reg & kLength;
    if (!vector_operands_fit(encoding, reg, vvvv, rm)) return fail(AssemblerError::kNotEncodable);
    if (rm.is_memory() && (low & kBadDisplacement) != 0) return fail(AssemblerError::kDisplacement);

    const uint32_t high_ids = (reg | vvvv | (rm.is_memory() ? 0 : low)) & kHighId;
    const bool broadcast = rm.is_memory() && (low & kBroadcast) != 0;
    const bool use_evex = !encoding.has_vex() || length_field == kZmm || broadcast || high_ids != 0 ||
                          ((reg | low) & (kMask | kZeroing)) != 0;
    if (use_evex && !encoding.has_evex()) return fail(AssemblerError::kNotEncodable);

    const unsigned length = length_field >> kLengthShift;
    uint8_t* const begun = begin();
    uint8_t* out = begun;
    unsigned disp8_shift = 0;
    if (use_evex) {
        const uint32_t mask = encoding.stores() ? low : reg;
        disp8_shift = Rules::evex_disp8_shift(encoding, length, broadcast);
        out = put(out, evex_prefix_and_opcode<Rules>(encoding, HighBits(reg, rm), reg, rm, vvvv & kId, length,
                                                     mask));
    } else {
        out = put(out, vex_prefix_and_opcode<Rules>(encoding, reg, rm, vvvv));
    }
    const size_t displacement_field = size() + static_cast<size_t>(out - begun) + 1;
    out = put(out, address_by_call<Rules>(reg, rm, disp8_shift));
    *out = static_cast<uint8_t>(immediate);
    commit(begun, out + encoding.has_imm8());
    if (rm.is_memory() && (low & kIsLabel) != 0) {
        use_label(rm.memory().label(), displacement_field, 4, 4 + encoding.has_imm8());
    }
}

template <typename Rules>
bool BasicTinyAssembler<Rules>::vector_operands_fit(Encoding encoding, uint32_t reg, uint32_t vvvv,
                                                    RegMem rm) const {
    using namespace operand_bits;
    const uint32_t length = reg & kLength;
    constexpr uint32_t kMasking = kMask | kZeroing;
    const uint32_t low = rm.low();
    if (length == kLength || ((reg ^ vvvv) & kLength) != 0 || (vvvv & kMasking) != 0) return false;
    const uint32_t width =
        (encoding.has_vex() ? encoding.w() : encoding.evex_w()) != 0 ? kWidth : 2u << kWidthShift;
    if ((reg & kIsGp) != 0 && (reg & kWidth) != width) return false;
    if ((vvvv & kIsGp) != 0 && (vvvv & kWidth) != width) return false;
    if (rm.is_memory()) {
        if ((low & kBadOperand) != 0) return false;
        if ((low & kBroadcast) != 0 && !encoding.can_broadcast()) return false;
    } else {
        if (((low ^ (length >> encoding.narrow())) & kLength) != 0) return false;
        if ((low & kIsGp) != 0 && (low & kWidth) != width) return false;
    }
    // A mask belongs to the destination alone; memory and mask registers cannot be zeroed.
    const uint32_t destination = encoding.stores() ? low : reg;
    const uint32_t source = encoding.stores() ? reg : low;
    if ((source & kMasking) != 0) return false;
    if ((destination & kMasking) != 0 && !encoding.can_mask()) return false;
    if ((destination & kZeroing) != 0 &&
        ((destination & kMask) == 0 || (encoding.stores() && rm.is_memory()))) {
        return false;
    }
    return true;
}

// ---------------------------------------------------------------- legacy instructions
template <typename Rules>
void BasicTinyAssembler<Rules>::legacy(Encoding encoding, uint32_t reg, RegMem rm, int32_t immediate,
                                       unsigned immediate_size) {
    using namespace operand_bits;
    const uint32_t low = rm.low();
    const bool is_memory = rm.is_memory();
    // Neither vectors beyond xmm15 nor masks nor broadcasts exist here. Memory without a base has kHighId too.
    constexpr uint32_t kForeign = kLength | kMask | kZeroing | kBadOperand;
    if (((reg & (kForeign | kHighId)) | (low & kForeign)) != 0 || (!is_memory && (low & kHighId) != 0)) {
        return fail(AssemblerError::kNotEncodable);
    }
    if (is_memory && (low & kBadDisplacement) != 0) return fail(AssemblerError::kDisplacement);

    const auto needs_rex = [](uint32_t bits) {
        return (bits & (kIsGp | kWidth)) == kIsGp && Rules::byte_register_needs_rex(bits & 15);
    };
    uint8_t* const begun = begin();
    uint8_t* out =
        put(begun, legacy_prefix_and_opcode<Rules>(encoding, HighBits(reg, rm),
                                                   needs_rex(reg) || (!is_memory && needs_rex(low))));
    const size_t displacement_field = size() + static_cast<size_t>(out - begun) + 1;
    out = put(out, address_by_call<Rules>(reg, rm, 0));
    __builtin_memcpy(out, &immediate, sizeof(immediate));
    commit(begun, out + immediate_size);
    if (is_memory && (low & kIsLabel) != 0) {
        use_label(rm.memory().label(), displacement_field, 4, 4 + immediate_size);
    }
}

// ---------------------------------------------------------------- general instructions
template <typename Rules>
unsigned BasicTinyAssembler<Rules>::settle_width(OpenEncoding& open, uint32_t reg, RegMem rm) {
    using namespace operand_bits;
    const auto width_of = [](uint32_t bits) { return 1u << ((bits & kWidth) >> kWidthShift); };
    const unsigned rm_bytes = rm.is_memory() ? rm.memory().size() : width_of(rm.low());
    const bool rm_open = rm.is_memory() && rm_bytes == 0;  // takes any width
    const unsigned bytes = open.has_digit ? rm_bytes : width_of(reg);
    if (open.byte_only) return rm_bytes == 1 || rm_open ? 1 : 0;
    if (open.default_64) return bytes == 8 ? bytes : 0;
    if (open.source_by_bit0) {  // movzx, movsx: from 1 or 2 bytes to more
        if ((rm_bytes != 1 && rm_bytes != 2) || rm_bytes >= bytes) return 0;
        if (rm_bytes == 2) open.encoding = open.encoding.with_opcode(open.encoding.opcode() | 1);
    } else if (open.encoding.narrow() != 0) {  // movsxd: from 4 bytes to 8
        return bytes == 8 && (rm_bytes == 4 || rm_open) ? bytes : 0;
    } else if (rm_bytes != bytes && !rm_open) {
        return 0;
    }
    switch (bytes) {
        case 1:
            if (!open.w_by_width) return 0;
            open.encoding = open.encoding.with_opcode(open.encoding.opcode() & ~1u);
            break;
        case 2:
            if (open.encoding.pp() != 0) return 0;
            open.encoding = open.encoding.with_66();
            break;
        case 8:
            open.encoding = open.encoding.with_w();
            break;
        default:
            break;
    }
    return bytes;
}

template <typename Rules>
void BasicTinyAssembler<Rules>::general(OpenEncoding open, uint32_t reg, RegMem rm) {
    if (settle_width(open, reg, rm) == 0) return fail(AssemblerError::kNotEncodable);
    legacy(open.encoding, reg, rm, 0, 0);
}

namespace tiny_opcode {
constexpr unsigned kArithmeticImm32 = 0x81, kArithmeticImm8 = 0x83;
constexpr unsigned kAccumulatorImm = 0x05;  // plus 8 times the digit
constexpr unsigned kTestAccumulatorImm = 0xA9, kTestImm = 0xF7;
constexpr unsigned kMultiplyImm8 = 0x6B;
constexpr unsigned kShiftByOneBit = 0x10;  // C1 with an immediate, D1 by one
constexpr unsigned kMovImm = 0xB8, kMovSignExtended = 0xC7;
constexpr unsigned kJmpShort = 0xEB, kJmpNear = 0xE9;
constexpr unsigned kEscape = 0x0F, kJccShortToNear = 0x10;  // 7x becomes 0F 8x
}  // namespace tiny_opcode

template <typename Rules>
void BasicTinyAssembler<Rules>::arithmetic_immediate(OpenEncoding open, RegMem rm, int32_t immediate) {
    using namespace tiny_opcode;
    const bool arithmetic = open.encoding.opcode() == kArithmeticImm32;
    const bool test = open.encoding.opcode() == kTestImm;
    const unsigned bytes = settle_width(open, 0, rm);
    // 16-bit immediates stall decoders (length-changing prefix): not offered.
    if (bytes == 0 || bytes == 2) return fail(AssemblerError::kNotEncodable);
    if (bytes == 1 && immediate != static_cast<int8_t>(immediate) &&
        immediate != static_cast<uint8_t>(immediate)) {
        return fail(AssemblerError::kNotEncodable);
    }
    unsigned size = bytes == 1 ? 1 : 4;
    const bool accumulator = !rm.is_memory() && (rm.low() & operand_bits::kId) == 0;
    if (arithmetic && bytes != 1 && Rules::fits_imm8(immediate)) {
        open.encoding = open.encoding.with_opcode(kArithmeticImm8);
        size = 1;
    } else if (accumulator && (arithmetic || test)) {
        const unsigned opcode = test ? kTestAccumulatorImm : kAccumulatorImm + 8 * open.encoding.digit();
        return opcode_and_immediate(open.encoding.with_opcode(bytes == 1 ? opcode & ~1u : opcode), rax,
                                    immediate, size);
    }
    legacy(open.encoding, open.encoding.digit(), rm, immediate, size);
}

template <typename Rules>
void BasicTinyAssembler<Rules>::multiply_immediate(OpenEncoding open, uint32_t reg, RegMem rm,
                                                   int32_t immediate) {
    const unsigned bytes = settle_width(open, reg, rm);
    if (bytes == 0 || bytes == 2) return fail(AssemblerError::kNotEncodable);
    const bool short_form = Rules::fits_imm8(immediate);
    if (short_form) open.encoding = open.encoding.with_opcode(tiny_opcode::kMultiplyImm8);
    legacy(open.encoding, reg, rm, immediate, short_form ? 1 : 4);
}

template <typename Rules>
void BasicTinyAssembler<Rules>::shift_immediate(OpenEncoding open, RegMem rm, unsigned count) {
    if (settle_width(open, 0, rm) == 0) return fail(AssemblerError::kNotEncodable);
    const bool by_one = count == 1;
    if (by_one)
        open.encoding = open.encoding.with_opcode(open.encoding.opcode() | tiny_opcode::kShiftByOneBit);
    legacy(open.encoding, open.encoding.digit(), rm, static_cast<int32_t>(count), by_one ? 0 : 1);
}

/// An opcode without ModRM, its lower bits or nothing naming `reg`, and an immediate.
template <typename Rules>
void BasicTinyAssembler<Rules>::opcode_and_immediate(Encoding encoding, Gp reg, int64_t immediate,
                                                     unsigned size) {
    uint8_t* const begun = begin();
    uint8_t* out = put(begun, legacy_prefix_and_opcode<Rules>(encoding, HighBits(0, GpMem(reg)), false));
    __builtin_memcpy(out, &immediate, sizeof(immediate));
    commit(begun, out + size);
}

template <typename Rules>
void BasicTinyAssembler<Rules>::push_pop(Encoding encoding, Gp reg) {
    if (reg.bytes() != 8) return fail(AssemblerError::kNotEncodable);
    opcode_and_immediate(encoding.with_opcode(encoding.opcode() | (reg.id() & 7)), reg, 0, 0);
}

template <typename Rules>
void BasicTinyAssembler<Rules>::move_constant(Gp destination, int64_t value) {
    const unsigned bytes = destination.bytes();
    const int32_t value32 = static_cast<int32_t>(value);
    const bool fits_width = bytes == 8 || value == value32 || value == static_cast<uint32_t>(value);
    if (bytes < 4 || !fits_width) return fail(AssemblerError::kNotEncodable);

    Encoding encoding = encoding_of(Form::mov).encoding;
    if (bytes == 8) encoding = encoding.with_w();
    if (bytes == 8 && value == value32) {
        return legacy(encoding.with_opcode(tiny_opcode::kMovSignExtended), 0, GpMem(destination), value32, 4);
    }
    opcode_and_immediate(encoding.with_opcode(tiny_opcode::kMovImm | (destination.id() & 7)), destination,
                         value, bytes);
}

template <typename Rules>
void BasicTinyAssembler<Rules>::bare(Encoding encoding, bool is_vex, unsigned length) {
    if (!is_vex) return opcode_and_immediate(encoding, rax, 0, 0);
    uint8_t* const begun = begin();
    const uint32_t reg = length << operand_bits::kLengthShift;
    commit(begun, put(begun, vex_prefix_and_opcode<Rules>(encoding, reg, GpMem(rax), 0)));
}

// ---------------------------------------------------------------- labels, jumps, data
template <typename Rules>
Label BasicTinyAssembler<Rules>::new_label() {
    const Label label = labels_.make();
    if (!label.exists()) fail(AssemblerError::kTooManyLabels);
    return label;
}

template <typename Rules>
void BasicTinyAssembler<Rules>::bind(Label label) {
    if (error_ != AssemblerError::kNone) return;
    if (!labels_.knows(label) || labels_.place_of(label) != LabelTable::kUnbound) {
        return fail(AssemblerError::kBoundTwice);
    }
    const uint32_t place = static_cast<uint32_t>(size());
    labels_.set_place(label, place);
    labels_.take_uses(label, [&](LabelUse use) { resolve(use, place); });
}

/// Writes the distance to `target` into a field; what stands in a 4-byte field is added to it.
template <typename Rules>
void BasicTinyAssembler<Rules>::resolve(LabelUse use, uint32_t target) {
    uint8_t* const field = start_ + use.field;
    int64_t distance = Rules::relative(target, use.field, use.field_to_end);
    if (use.field_size == 1) {
        if (!Rules::short_jump_reaches(distance)) return fail(AssemblerError::kDisplacement);
        *field = static_cast<uint8_t>(distance);
        return;
    }
    int32_t addend;
    __builtin_memcpy(&addend, field, sizeof(addend));
    distance += addend;
    const int32_t stored = static_cast<int32_t>(distance);
    if (stored != distance) return fail(AssemblerError::kDisplacement);
    __builtin_memcpy(field, &stored, sizeof(stored));
}

template <typename Rules>
void BasicTinyAssembler<Rules>::use_label(Label label, size_t field, unsigned field_size,
                                          unsigned field_to_end) {
    if (error_ != AssemblerError::kNone) return;
    if (!labels_.knows(label)) return fail(AssemblerError::kBoundTwice);
    const LabelUse use{static_cast<uint32_t>(field), label.id, static_cast<uint8_t>(field_size),
                       static_cast<uint8_t>(field_to_end)};
    if (labels_.place_of(label) != LabelTable::kUnbound) return resolve(use, labels_.place_of(label));
    if (!labels_.add(use)) fail(AssemblerError::kTooManyLabels);
}

template <typename Rules>
void BasicTinyAssembler<Rules>::jump(unsigned short_opcode, Label target) {
    using namespace tiny_opcode;
    constexpr unsigned kShortSize = 2;
    if (!labels_.knows(target)) return fail(AssemblerError::kBoundTwice);
    const uint32_t place = labels_.place_of(target);
    const bool bound = place != LabelTable::kUnbound;
    const bool reaches =
        bound && Rules::short_jump_reaches(int64_t{place} - static_cast<int64_t>(size() + kShortSize));

    uint8_t* const begun = begin();
    const size_t here = size();
    if (reaches || target.in_short_reach) {
        if (bound && !reaches) return fail(AssemblerError::kDisplacement);
        commit(begun, put(begun, {short_opcode, kShortSize}));
        return use_label(target, here + 1, 1, 1);
    }
    const bool always = short_opcode == kJmpShort;
    const uint64_t opcode = always ? kJmpNear : kEscape | ((short_opcode + kJccShortToNear) << 8);
    const unsigned opcode_size = always ? 1 : 2;
    commit(begun, put(begun, {opcode, opcode_size + 4}));
    use_label(target, here + opcode_size, 4, 4);
}

template <typename Rules>
void BasicTinyAssembler<Rules>::align(unsigned alignment) {
    // The recommended NOPs of 1 to 9 bytes, each with the one before it as its core (SDM 2B "NOP", table 4-12).
    constexpr unsigned kLongest = 9;
    static constexpr uint8_t kNops[kLongest][kLongest] = {
        {0x90},
        {0x66, 0x90},
        {0x0F, 0x1F, 0x00},
        {0x0F, 0x1F, 0x40, 0x00},
        {0x0F, 0x1F, 0x44, 0x00, 0x00},
        {0x66, 0x0F, 0x1F, 0x44, 0x00, 0x00},
        {0x0F, 0x1F, 0x80, 0x00, 0x00, 0x00, 0x00},
        {0x0F, 0x1F, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
        {0x66, 0x0F, 0x1F, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
    };
    constexpr unsigned kMaxAlignment = 64;  // the guarantee of code buffers
    if (alignment == 0 || alignment > kMaxAlignment || (alignment & (alignment - 1)) != 0)
        return fail(AssemblerError::kNotEncodable);
    size_t missing = (alignment - size() % alignment) % alignment;
    while (missing != 0 && error_ == AssemblerError::kNone) {
        const size_t step = missing < kLongest ? missing : kLongest;
        append(kNops[step - 1], step);
        missing -= step;
    }
}

template <typename Rules>
void BasicTinyAssembler<Rules>::embed(ByteSpan bytes) {
    if (!bytes.empty()) append(bytes.data(), bytes.size());
}

template <typename Rules>
void BasicTinyAssembler<Rules>::append(const uint8_t* bytes, size_t size) {
    if (error_ != AssemblerError::kNone) return;
    if (!Rules::fits_buffer(size, static_cast<uint64_t>(end_ - cursor_)))
        return fail(AssemblerError::kBufferFull);
    __builtin_memcpy(cursor_, bytes, size);
    cursor_ += size;
}

template <typename Rules>
AssemblerError BasicTinyAssembler<Rules>::finish() {
    if (labels_.has_pending()) fail(AssemblerError::kUnboundLabel);
    return error_;
}

/// The first error stays. From here on there is no room, so that everything goes to the scratch area and is dropped.
template <typename Rules>
void BasicTinyAssembler<Rules>::fail(AssemblerError error) {
    if (error_ != AssemblerError::kNone) return;
    error_ = error;
    end_ = cursor_;
    soft_end_ = cursor_;
}

}  // namespace bareflow::x86
