// xbyak behind BareFlow's methods: an oracle, in tests only (Debian: libxbyak-dev).
#pragma once

// Without NDEBUG xbyak prints the labels that a test left unbound.
#ifndef NDEBUG
#define NDEBUG
#endif
#include <xbyak/xbyak.h>

#include <array>
#include <span>
#include <utility>

#include "emitter/any_operand.h"
#include "emitter/instruction_set.h"

namespace bareflow::x86 {

class XbyakAssembler : public InstructionSet<XbyakAssembler> {
 public:
    explicit XbyakAssembler(std::span<uint8_t> buffer) : generator_(buffer.size(), buffer.data()) {}

    Label new_label() {
        if (label_count_ == kMaxLabels) {
            fail(AssemblerError::kTooManyLabels);
            return {};
        }
        return {static_cast<uint8_t>(label_count_++)};
    }
    void bind(Label label) {
        guarded([&] {
            bound_.at(label.id) = true;
            generator_.L(labels_.at(label.id));
        });
    }
    void align(unsigned alignment) {
        guarded([&] {
            const size_t missing = (alignment - size() % alignment) % alignment;
            if (missing != 0) generator_.nop(missing);
        });
    }
    void embed(ByteSpan bytes) {
        guarded([&] { generator_.db(bytes.data(), bytes.size()); });
    }
    void embed_u32(uint32_t value) { embed({reinterpret_cast<const uint8_t*>(&value), sizeof(value)}); }
    size_t size() const { return generator_.getSize(); }
    AssemblerError error() const { return error_; }
    AssemblerError finish() {
        if (generator_.hasUndefinedLabel()) fail(AssemblerError::kUnboundLabel);
        return error_;
    }
    ByteSpan code() const {
        return error_ == AssemblerError::kNone ? ByteSpan(generator_.getCode(), size()) : ByteSpan();
    }

    template <Form form, typename... Operands>
    void emit(Operands... operands) {
        guarded([&] { dispatch<form>(operands...); });
    }
    void move_constant(Gp destination, int64_t value) {
        guarded(
            [&] { with(destination, [&](auto reg) { generator_.mov(reg, static_cast<uint64_t>(value)); }); });
    }

 private:
    struct NotInXbyak {};
    /// xbyak with the names that only we have.
    struct Generator : Xbyak::CodeGenerator {
        using Xbyak::CodeGenerator::CodeGenerator;
        using Xbyak::CodeGenerator::vpbroadcastb;
        using Xbyak::CodeGenerator::vpbroadcastw;
        void shl_cl(const Xbyak::Operand& op) { shl(op, cl); }
        void shr_cl(const Xbyak::Operand& op) { shr(op, cl); }
        void sar_cl(const Xbyak::Operand& op) { sar(op, cl); }
        void vpbroadcastb(const Xbyak::Xmm& x, const Xbyak::Reg32& reg) {
            vpbroadcastb(x, Xbyak::Reg8(reg.getIdx(), true));
        }
        void vpbroadcastw(const Xbyak::Xmm& x, const Xbyak::Reg32& reg) {
            vpbroadcastw(x, Xbyak::Reg16(reg.getIdx()));
        }
        void vpdpbusd_vex(const Xbyak::Xmm& a, const Xbyak::Xmm& b, const Xbyak::Operand& c) {
            vpdpbusd(a, b, c, Xbyak::VexEncoding);
        }
        void vpdpbusds_vex(const Xbyak::Xmm& a, const Xbyak::Xmm& b, const Xbyak::Operand& c) {
            vpdpbusds(a, b, c, Xbyak::VexEncoding);
        }
    };

    // ---- our operands as xbyak's, whose types depend on what is known only now: `use` is called with the right one
    /// A register of any width, of a type that fits wherever xbyak wants one of a certain width: fewer overloads to
    /// compile.
    class AnyReg : public Xbyak::Reg64 {
     public:
        explicit AnyReg(Gp reg) : Xbyak::Reg64(static_cast<int>(reg.id())) {
            const Xbyak::Reg8 byte(static_cast<int>(reg.id()), reg.id() >= 4 && reg.id() < 8);
            if (reg.bytes() == 1) {
                static_cast<Xbyak::Operand&>(*this) = byte;
            } else {
                setBit(static_cast<int>(reg.bytes() * 8));
            }
        }
    };
    template <typename Use>
    void with(Gp reg, Use use) {
        use(AnyReg(reg));
    }
    template <typename Use>
    void with(Vec reg, Use use) {
        if (!reg.exists()) throw NotInXbyak();
        // A Ymm of any kind: where xbyak wants an Xmm, this is one too.
        constexpr Xbyak::Operand::Kind kKinds[] = {Xbyak::Operand::XMM, Xbyak::Operand::YMM,
                                                   Xbyak::Operand::ZMM};
        const auto length = static_cast<unsigned>(reg.length());
        Xbyak::Ymm result(static_cast<int>(reg.id()), kKinds[length], 128 << length);
        use(masked(result, reg.mask(), reg.zeroing()));
    }
    template <typename Use>
    void with(Zmm reg, Use use) {
        use(masked(Xbyak::Zmm(static_cast<int>(reg.id())), reg.mask(), reg.zeroing()));
    }
    template <typename Use>
    void with(Xmm reg, Use use) {
        with(static_cast<Vec>(reg), use);
    }
    template <typename Use>
    void with(Ymm reg, Use use) {
        with(static_cast<Vec>(reg), use);
    }
    template <typename Use>
    void with(KMask reg, Use use) {
        use(masked(Xbyak::Opmask(reg.id), reg.mask, false));
    }
    template <typename Use>
    void with(Mem memory, Use use) {
        use(address(memory));
    }
    template <typename Use>
    void with(VecMem rm, Use use) {
        rm.is_memory() ? with(rm.memory(), use) : with(Vec::from_bits(rm.low()), use);
    }
    template <typename Use>
    void with(XmmMem rm, Use use) {
        rm.is_memory() ? with(rm.memory(), use) : with(Vec::from_bits(rm.low()), use);
    }
    template <typename Use>
    void with(YmmMem rm, Use use) {
        rm.is_memory() ? with(rm.memory(), use) : with(Vec::from_bits(rm.low()), use);
    }
    template <typename Use>
    void with(GpMem rm, Use use) {
        rm.is_memory() ? with(rm.memory(), use) : with(AnyOperand(rm).gp(), use);
    }
    template <typename Use>
    void with(KMem rm, Use use) {
        rm.is_memory() ? with(rm.memory(), use) : with(AnyOperand(rm).mask_register(), use);
    }
    template <typename Use>
    void with(uint8_t value, Use use) {
        use(value);
    }
    template <typename Use>
    void with(int32_t value, Use use) {
        use(value);
    }

    template <typename Register>
    static Register masked(Register reg, unsigned mask, bool zeroing) {
        if (mask != 0) reg.setOpmaskIdx(static_cast<int>(mask));
        if (zeroing) reg.setZero();
        return reg;
    }
    Xbyak::Address address(Mem memory) {
        if (memory.bad_operand() || memory.bad_displacement()) throw NotInXbyak();
        const uint32_t bits = memory.size() * 8;
        const Xbyak::AddressFrame frame(bits, memory.is_broadcast());
        if (memory.is_label()) {
            const Xbyak::RegRip place =
                generator_.rip + labels_.at(memory.label().id) + memory.displacement();
            return masked(frame[place], memory.mask(), false);
        }
        Xbyak::RegExp expression;
        if (memory.has_base()) expression = Xbyak::RegExp(Xbyak::Reg64(static_cast<int>(memory.base())));
        if (memory.has_index()) {
            const Xbyak::RegExp index(Xbyak::Reg64(static_cast<int>(memory.index())),
                                      1 << memory.scale_log2());
            expression = memory.has_base() ? expression + index : index;
        }
        Xbyak::Address result = frame[expression + static_cast<size_t>(int64_t{memory.displacement()})];
        return masked(result, memory.mask(), false);
    }

    // ---- the calls
    template <Form form>
    struct Call;

    /// Turns `first` into xbyak's and goes on with the rest.
    template <Form form, size_t converted, typename First, typename... Rest>
    void convert(First first, Rest... rest) {
        if constexpr (converted == 1 + sizeof...(Rest)) {
            Call<form>::call(generator_, first, rest...);
        } else if constexpr ((std::is_same_v<First, Gp> || std::is_same_v<First, GpMem>)&&encoding_of(form)
                                 .kind != FormEncoding::Kind::kGp) {
            // Among vector instructions xbyak tells the widths apart by type.
            const AnyOperand any(first);
            if (any.kind() == AnyOperand::Kind::kGp && any.gp().bytes() == 4) {
                convert<form, converted + 1>(rest..., Xbyak::Reg32(static_cast<int>(any.gp().id())));
            } else {
                with(first, [&](auto operand) { convert<form, converted + 1>(rest..., operand); });
            }
        } else {
            with(first, [&](auto operand) { convert<form, converted + 1>(rest..., operand); });
        }
    }
    template <Form form>
    void dispatch() {
        Call<form>::call(generator_);
    }
    template <Form form>
    void dispatch(Label target) {
        Xbyak::Label& label = labels_.at(target.id);
        const bool bound = bound_.at(target.id);
        Call<form>::call(generator_, label,
                         target.in_short_reach ? Xbyak::CodeGenerator::T_SHORT
                         : bound               ? Xbyak::CodeGenerator::T_AUTO
                                               : Xbyak::CodeGenerator::T_NEAR);
    }
    template <Form form, typename... Operands>
    void dispatch(Operands... operands) {
        convert<form, 0>(operands...);
    }

    template <typename Body>
    void guarded(Body body) {
        if (error_ != AssemblerError::kNone) return;
        try {
            body();
        } catch (const Xbyak::Error& error) {
            const int code = error;
            fail(code == Xbyak::ERR_CODE_IS_TOO_BIG      ? AssemblerError::kBufferFull
                 : code == Xbyak::ERR_LABEL_IS_TOO_FAR   ? AssemblerError::kDisplacement
                 : code == Xbyak::ERR_LABEL_IS_REDEFINED ? AssemblerError::kBoundTwice
                                                         : AssemblerError::kNotEncodable);
        } catch (const NotInXbyak&) {
            fail(AssemblerError::kNotEncodable);
        }
    }
    void fail(AssemblerError error) {
        if (error_ == AssemblerError::kNone) error_ = error;
    }

    Generator generator_;
    std::array<Xbyak::Label, kMaxLabels> labels_;
    std::array<bool, kMaxLabels> bound_{};
    unsigned label_count_ = 0;
    AssemblerError error_ = AssemblerError::kNone;
};

// xbyak's method for each form, by the same name; what it has no overload for throws.
#define FORM(form, name, ...)                                  \
    template <>                                                \
    struct XbyakAssembler::Call<Form::form> {                  \
        template <typename... T>                               \
        static void call(Generator& g, T&&... operands) {      \
            if constexpr (requires { g.name(operands...); }) { \
                g.name(operands...);                           \
            } else {                                           \
                throw NotInXbyak();                            \
            }                                                  \
        }                                                      \
    };
#include "emitter/instructions.inc"

}  // namespace bareflow::x86
