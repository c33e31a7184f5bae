#include "tests/oracle/form_cases.h"

#include <algorithm>

namespace bareflow::x86 {
namespace {

template <typename... Types>
struct TypeList {};
template <typename T>
constexpr OperandType type_of() {
    if constexpr (std::is_same_v<T, Vec>) return OperandType::kVec;
    if constexpr (std::is_same_v<T, Xmm>) return OperandType::kXmm;
    if constexpr (std::is_same_v<T, Ymm>) return OperandType::kYmm;
    if constexpr (std::is_same_v<T, Zmm>) return OperandType::kZmm;
    if constexpr (std::is_same_v<T, VecMem>) return OperandType::kVecMem;
    if constexpr (std::is_same_v<T, XmmMem>) return OperandType::kXmmMem;
    if constexpr (std::is_same_v<T, YmmMem>) return OperandType::kYmmMem;
    if constexpr (std::is_same_v<T, Gp>) return OperandType::kGp;
    if constexpr (std::is_same_v<T, GpMem>) return OperandType::kGpMem;
    if constexpr (std::is_same_v<T, KMask>) return OperandType::kMask;
    if constexpr (std::is_same_v<T, KMem>) return OperandType::kMaskMem;
    if constexpr (std::is_same_v<T, Mem>) return OperandType::kMem;
    if constexpr (std::is_same_v<T, uint8_t>) return OperandType::kImm8;
    if constexpr (std::is_same_v<T, int32_t>) return OperandType::kImm32;
    if constexpr (std::is_same_v<T, Label>) return OperandType::kLabel;
}
template <typename... Types>
constexpr std::array<OperandType, kMaxOperands> types_of(TypeList<Types...>) {
    return {type_of<Types>()...};
}

bool is_vector_type(OperandType type) {
    return type == OperandType::kVec || type == OperandType::kXmm || type == OperandType::kYmm ||
           type == OperandType::kZmm || type == OperandType::kVecMem || type == OperandType::kXmmMem ||
           type == OperandType::kYmmMem;
}
bool can_be_memory(OperandType type) {
    return type == OperandType::kVecMem || type == OperandType::kXmmMem || type == OperandType::kYmmMem ||
           type == OperandType::kGpMem || type == OperandType::kMaskMem || type == OperandType::kMem;
}

/// What all operands of an instruction have to agree on.
struct Frame {
    unsigned length = 0;    ///< vector length of the instruction, 0 to 2
    unsigned gp_width = 2;  ///< log2 of the bytes of its general registers
    unsigned rm_width = 2;  ///< of ModRM.rm, where it may differ
    bool evex = false;      ///< may use what only EVEX has
};

std::vector<Frame> frames_of(const FormInfo& form) {
    const FormEncoding& encoding = *form.encoding;
    std::vector<Frame> frames;
    if (encoding.kind == FormEncoding::Kind::kGp) {
        using enum OperandType;
        const bool has_imm32 = std::ranges::find(form.types, kImm32) != form.types.end();
        for (unsigned width = 0; width < 4; ++width) {
            if (encoding.byte_only ? width != 0 : width == 0 && !encoding.w_by_width) continue;
            if (encoding.default_64 && width != 3) continue;
            if (width == 1 && (has_imm32 || encoding.encoding.pp() != 0)) continue;
            if (encoding.source_by_bit0) {
                for (unsigned source = 0; source < 2 && source < width; ++source)
                    frames.push_back({0, width, source, false});
            } else if (encoding.encoding.narrow() != 0) {
                if (width == 3) frames.push_back({0, 3, 2, false});
            } else {
                frames.push_back({0, width, width, false});
            }
        }
        return frames;
    }
    // Vector and legacy forms.
    std::vector<unsigned> lengths;
    const bool any_length = std::ranges::any_of(
        form.types, [](OperandType t) { return t == OperandType::kVec || t == OperandType::kVecMem; });
    const auto has = [&](OperandType type) {
        return std::ranges::find(form.types, type) != form.types.end();
    };
    if (any_length) {
        if (!encoding.min256) lengths.push_back(0);
        lengths.push_back(1);
        if (form.can_evex()) lengths.push_back(2);
    } else {
        lengths.push_back(has(OperandType::kZmm) ? 2 : has(OperandType::kYmm) ? 1 : 0);
    }
    std::vector<unsigned> widths = {2};
    if (encoding.w_by_width)
        widths = {2, 3};
    else if ((encoding.encoding.has_vex() || !form.can_evex() ? encoding.encoding.w()
                                                              : encoding.encoding.evex_w()) != 0)
        widths = {3};
    for (unsigned length : lengths) {
        for (unsigned width : widths) frames.push_back({length, width, width, form.can_evex()});
    }
    return frames;
}

unsigned vector_length(const FormInfo& form, unsigned position, const Frame& frame) {
    switch (form.types[position]) {
        case OperandType::kXmm:
        case OperandType::kXmmMem:
            return 0;
        case OperandType::kYmm:
        case OperandType::kYmmMem:
            return 1;
        case OperandType::kZmm:
            return 2;
        default:
            break;
    }
    const bool is_rm = form.encoding->roles[position] == Role::kRm;
    return is_rm ? frame.length >> form.encoding->encoding.narrow() : frame.length;
}

/// Whether the operand at `position` is the destination, which alone may have a mask.
bool takes_mask(const FormInfo& form, unsigned position, const Frame& frame) {
    return position == 0 && frame.evex && form.encoding->encoding.can_mask();
}

/// log2 of what disp8 would count in, to find the boundaries.
unsigned disp8_shift(const FormInfo& form, const Frame& frame) {
    return form.can_evex() ? form.encoding->encoding.disp8_shift(frame.length) : 0;
}

std::vector<int64_t> displacements(const FormInfo& form, const Frame& frame) {
    std::vector<int64_t> result = {0,    1,   -1,  127, 128,  -128, -129,  508,   512,       -512,
                                   -516, 504, 516, 64,  8128, 8192, -8192, -8256, INT32_MAX, INT32_MIN};
    for (unsigned shift : {disp8_shift(form, frame), form.encoding->encoding.broadcast_shift()}) {
        const int64_t unit = int64_t{1} << shift;
        for (int64_t value :
             {unit, -unit, unit / 2, 127 * unit, 128 * unit, 127 * unit + 1, -128 * unit, -129 * unit}) {
            result.push_back(value);
        }
    }
    return result;
}

Mem sized_if_needed(Mem memory, const FormInfo& form, const Frame& frame) {
    if (form.encoding->kind != FormEncoding::Kind::kGp || form.form == Form::lea) return memory;
    return memory.sized(1u << frame.rm_width);
}

AnyOperand with_mask(AnyOperand operand, unsigned mask, bool zeroing) {
    switch (operand.kind()) {
        case AnyOperand::Kind::kVec: {
            const Vec masked = operand.vec().masked(k(mask));
            return zeroing ? masked.zeroed() : masked;
        }
        case AnyOperand::Kind::kMask:
            return operand.mask_register().masked(k(mask));
        case AnyOperand::Kind::kMemory:
            return operand.memory().masked(k(mask));
        default:
            return operand;
    }
}

unsigned register_limit(const FormInfo& form, const Frame& frame) {
    return form.is_vector() && frame.evex ? 32 : 16;
}

const std::vector<unsigned> kScales = {1, 2, 4, 8};
constexpr unsigned kRsp = 4;

AnyOperand choose_register(const FormInfo& form, unsigned position, const Frame& frame, Chooser& choose) {
    const OperandType type = form.types[position];
    if (is_vector_type(type)) {
        const unsigned limit =
            form.encoding->roles[position] == Role::kIs4 ? 16 : register_limit(form, frame);
        return vec(static_cast<VecLength>(vector_length(form, position, frame)), choose.below(limit));
    }
    if (type == OperandType::kMask || type == OperandType::kMaskMem) return k(choose.below(8));
    const bool is_rm =
        form.encoding->roles[position] == Role::kRm && form.encoding->kind == FormEncoding::Kind::kGp;
    return Gp(choose.below(16), is_rm ? frame.rm_width : frame.gp_width);
}

Mem choose_memory(const FormInfo& form, const Frame& frame, Chooser& choose, Label label) {
    const std::vector<int64_t> boundaries = displacements(form, frame);
    int64_t displacement = 0;
    switch (choose.below(4)) {
        case 0:
            break;
        case 1:
            displacement = choose.pick(boundaries);
            break;
        case 2:
            displacement = (static_cast<int64_t>(choose.below(600)) - 300) << disp8_shift(form, frame);
            break;
        default:
            displacement = static_cast<int32_t>(choose.below(UINT32_MAX));
            break;
    }
    unsigned index = choose.below(16);
    if (index == kRsp) index = 12;
    const unsigned scale = choose.pick(kScales);
    Mem memory = ptr(r64(choose.below(16)), displacement);
    switch (choose.below(8)) {
        case 0:
        case 1:
        case 2:
            memory = ptr(r64(choose.below(16)), r64(index), scale, displacement);
            break;
        case 3:
            memory = ptr(no_base, r64(index), scale, displacement);
            break;
        case 4:
            if (label.exists()) memory = ptr(label, displacement / 2);
            break;
        default:
            break;
    }
    if (frame.evex && form.encoding->encoding.can_broadcast() && choose.one_in(3))
        memory = memory.broadcast();
    return sized_if_needed(memory, form, frame);
}

}  // namespace

bool FormInfo::has_operand(Role role) const {
    return std::ranges::find(encoding->roles, role) != std::end(encoding->roles);
}

const std::vector<FormInfo>& all_forms() {
    static constexpr FormInfo kForms[] = {
#define FORM(form, method, asmjit, main, evex, ...)                 \
    {Form::form, #form, #method, types_of(TypeList<__VA_ARGS__>()), \
     &kFormEncodings[static_cast<unsigned>(Form::form)]},
#include "emitter/instructions.inc"
    };
    static const std::vector<FormInfo> forms(std::begin(kForms), std::end(kForms));
    return forms;
}
const FormInfo& info_of(Form form) { return all_forms()[static_cast<unsigned>(form)]; }

Operands choose_operands(const FormInfo& form, Chooser& choose, Label label) {
    const Frame frame = choose.pick(frames_of(form));
    Operands operands;
    for (unsigned i = 0; i < kMaxOperands; ++i) {
        const OperandType type = form.types[i];
        if (type == OperandType::kNone) break;
        if (type == OperandType::kLabel) {
            operands[i] = label;
        } else if (type == OperandType::kImm8) {
            operands[i] = static_cast<uint8_t>(choose.below(256));
        } else if (type == OperandType::kImm32) {
            const int32_t wide = choose.one_in(2) ? static_cast<int32_t>(choose.below(300)) - 150
                                                  : static_cast<int32_t>(choose.below(UINT32_MAX));
            operands[i] = frame.gp_width == 0 ? int32_t{static_cast<int8_t>(wide)} : wide;
        } else if (type == OperandType::kMem || (can_be_memory(type) && choose.one_in(2))) {
            operands[i] = choose_memory(form, frame, choose, label);
        } else {
            operands[i] = choose_register(form, i, frame, choose);
        }
        if (takes_mask(form, i, frame) && choose.one_in(2)) {
            const bool can_zero = operands[i].kind() == AnyOperand::Kind::kVec;
            operands[i] = with_mask(operands[i], 1 + choose.below(7), can_zero && choose.one_in(2));
        }
    }
    return operands;
}

void for_each_case(const FormInfo& form, const std::function<void(const Operands&)>& visit) {
    for (const Frame& frame : frames_of(form)) {
        const unsigned limit = register_limit(form, frame);
        // Three backgrounds: low registers and plain memory; high registers and scaled memory; rsp, rbp and their like.
        for (unsigned background = 0; background < 3; ++background) {
            Operands base;
            const unsigned ids[] = {1 + background, background == 1 ? limit - 2 : 5,
                                    background == 2 ? 12u : 3u};
            const Mem memories[] = {ptr(rsi, 64), ptr(r13, r14, 4, -512), ptr(r12)};
            for (unsigned i = 0; i < kMaxOperands; ++i) {
                const OperandType type = form.types[i];
                if (type == OperandType::kImm8)
                    base[i] = static_cast<uint8_t>(0x15);
                else if (type == OperandType::kImm32)
                    base[i] = int32_t{17};
                else if (type == OperandType::kLabel)
                    base[i] = Label{0};
                else if (type == OperandType::kMem || (can_be_memory(type) && background != 1))
                    base[i] = sized_if_needed(memories[background], form, frame);
                else if (is_vector_type(type))
                    base[i] = vec(static_cast<VecLength>(vector_length(form, i, frame)),
                                  form.encoding->roles[i] == Role::kIs4 ? 9 : ids[i % 3]);
                else if (type == OperandType::kMask || type == OperandType::kMaskMem)
                    base[i] = k(ids[i % 3] & 7);
                else if (type != OperandType::kNone) {
                    const bool is_rm = form.encoding->roles[i] == Role::kRm &&
                                       form.encoding->kind == FormEncoding::Kind::kGp;
                    base[i] = Gp(ids[i % 3], is_rm ? frame.rm_width : frame.gp_width);
                }
            }
            visit(base);
            for (unsigned i = 0; i < kMaxOperands; ++i) {
                const OperandType type = form.types[i];
                const auto vary = [&](AnyOperand operand) {
                    Operands operands = base;
                    operands[i] = operand;
                    visit(operands);
                };
                if (type == OperandType::kNone) break;
                if (is_vector_type(type)) {
                    const unsigned here = form.encoding->roles[i] == Role::kIs4 ? 16 : limit;
                    for (unsigned id = 0; id < here; ++id) {
                        vary(vec(static_cast<VecLength>(vector_length(form, i, frame)), id));
                    }
                }
                if (type == OperandType::kMask || type == OperandType::kMaskMem) {
                    for (unsigned id = 0; id < 8; ++id) vary(k(id));
                }
                if (type == OperandType::kGp || type == OperandType::kGpMem) {
                    const bool is_rm = form.encoding->roles[i] == Role::kRm &&
                                       form.encoding->kind == FormEncoding::Kind::kGp;
                    for (unsigned id = 0; id < 16; ++id)
                        vary(Gp(id, is_rm ? frame.rm_width : frame.gp_width));
                }
                if (type == OperandType::kImm8) {
                    for (unsigned value : {0u, 1u, 2u, 31u, 127u, 128u, 255u})
                        vary(static_cast<uint8_t>(value));
                }
                if (type == OperandType::kImm32) {
                    for (int32_t value : {0, 1, -1, 127, -128}) vary(value);
                    if (frame.gp_width > 1) {
                        for (int32_t value : {128, -129, 255, 256, 0x12345678, INT32_MAX, INT32_MIN})
                            vary(value);
                    }
                }
                if (can_be_memory(type)) {
                    const auto vary_memory = [&](Mem memory) {
                        memory = sized_if_needed(memory, form, frame);
                        vary(memory);
                        if (frame.evex && form.encoding->encoding.can_broadcast()) vary(memory.broadcast());
                    };
                    for (unsigned id = 0; id < 16 && background == 0; ++id) {
                        for (int64_t displacement : {0, 64, 4096}) {
                            vary_memory(ptr(r64(id), displacement));
                            vary_memory(ptr(r64(id), rcx, 8, displacement));
                            if (id != kRsp) vary_memory(ptr(rbp, r64(id), 2, displacement));
                            if (id != kRsp) vary_memory(ptr(r12, r64(id), 1, displacement));
                        }
                        for (unsigned scale : kScales) {
                            if (id != kRsp) vary_memory(ptr(no_base, r64(id), scale, 0x40));
                        }
                    }
                    vary_memory(ptr(rax, rsp, 1, 8));  // the two trade places
                    for (int64_t displacement : displacements(form, frame)) {
                        if (background != 1) vary_memory(ptr(rdi, displacement));
                        if (background != 0) vary_memory(ptr(r13, r9, 4, displacement));
                    }
                    vary_memory(ptr(Label{0}, 0x100));
                }
                if (takes_mask(form, i, frame)) {
                    for (unsigned mask = 1; mask < 8; ++mask) {
                        vary(with_mask(base[i], mask, false));
                        if (base[i].kind() == AnyOperand::Kind::kVec) vary(with_mask(base[i], mask, true));
                    }
                }
            }
        }
    }
}

bool xbyak_differs(Form form, const Operands& operands) {
    const auto& [first, second, third, fourth] = operands;
    using Kind = AnyOperand::Kind;
    const auto is_memory = [](const AnyOperand& operand) { return operand.kind() == Kind::kMemory; };
    switch (form) {
        case Form::vmovq:
            return is_memory(second) && first.vec().id() >= 16;
        case Form::vmovq_store:
            return second.vec().id() >= 16;
        case Form::valignd:
            return is_memory(third) && third.memory().is_broadcast();
        case Form::vextractf32x4:
        case Form::vextracti32x4:
        case Form::vextractf64x4:
        case Form::vextracti64x4:
            return is_memory(first) && first.masking() != 0;
        default:
            return false;
    }
}

}  // namespace bareflow::x86
