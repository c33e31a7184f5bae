// Bugs that other people's generators shipped (FIELD.md), by name: each is made here on purpose, and must be named by the
// native call and by the interpreter; the lane order of every shuffle that generators use is the manual's.
#include <gtest/gtest.h>

#include <bit>

#include "emitter/tiny_assembler.h"
#include "tests/oracle/interpreter.h"
#include "tests/oracle/routine_call.h"

namespace bareflow {
namespace {

using namespace x86;

/// Arguments for code that is no routine: y, x and weight of 16 floats.
RoutineCase some_case(Isa isa) {
    RoutineCase c;
    c.key = {.operation = Operation::kRmsNorm,
             .numerics = NumericClass::kMulAdd,
             .isa = isa,
             .n = 16,
             .eps = 1e-5f};
    c.seed = 20240229;
    return c;
}

template <typename Body>
ByteSpan assemble_routine(Body body) {
    TinyAssembler a(code_buffer());
    body(a);
    EXPECT_EQ(a.finish(), AssemblerError::kNone);
    return a.code();
}
std::string named_natively(ByteSpan code, Isa isa) {
    RoutineMemory memory(some_case(isa));
    return call_poisoned(reinterpret_cast<Routine>(const_cast<uint8_t*>(code.data())), memory.arguments(),
                         isa)
        .wrong;
}
std::string named_by_interpreter(ByteSpan code, Isa isa) { return interpret(some_case(isa), code).wrong; }

/// Both name it `what`.
template <typename Body>
void expect_named(const std::string& what, Isa isa, Body body) {
    const ByteSpan code = assemble_routine(body);
    if (runs_here(some_case(isa).kind())) {
        EXPECT_EQ(named_natively(code, isa), what);
    }
    const std::string interpreted = named_by_interpreter(code, isa);
    EXPECT_TRUE(interpreted.starts_with(what)) << interpreted;
}

TEST(RoutineRegressions, MissingVzeroupperIsNamed) {
    expect_named("leaves upper halves dirty: vzeroupper is missing", Isa::kAvx2, [](TinyAssembler& a) {
        a.mov(rax, ptr(rdi, offsetof(RmsNormArguments, x)));
        a.vmovups(ymm(3), ptr(rax));
        a.ret();
    });
}

TEST(RoutineRegressions, ClobberedRegistersAreNamed) {
    constexpr struct {
        Gp reg;
        const char* name;
    } kKept[] = {{rbx, "rbx"}, {rbp, "rbp"}, {r12, "r12"}, {r13, "r13"}, {r14, "r14"}, {r15, "r15"}};
    for (const auto& kept : kKept) {
        expect_named(std::string("clobbers ") + kept.name, Isa::kSse2, [&](TinyAssembler& a) {
            a.mov(kept.reg, int64_t{7});
            a.ret();
        });
    }
}

TEST(RoutineRegressions, StackPointerThatIsOffIsNamed) {
    // Returns to the right place, with 16 bytes left on the stack.
    const ByteSpan code = assemble_routine([](TinyAssembler& a) {
        a.pop(rcx);
        a.sub(rsp, 16);
        a.push(rcx);
        a.ret();
    });
    EXPECT_EQ(named_natively(code, Isa::kSse2), "rsp is off by -16");
    EXPECT_NE(named_by_interpreter(code, Isa::kSse2), "");
}

TEST(RoutineRegressions, DirectionFlagAndMxcsrAreNamed) {
    constexpr uint8_t kStd[] = {0xFD};
    const ByteSpan direction = assemble_routine([&](TinyAssembler& a) {
        a.embed(kStd);
        a.ret();
    });
    EXPECT_EQ(named_natively(direction, Isa::kSse2), "leaves the direction flag set");
    // stmxcsr [rsp-8]; or dword [rsp-8], 0x8000 (flush to zero); ldmxcsr [rsp-8]
    constexpr uint8_t kFlushToZero[] = {0x0F, 0xAE, 0x5C, 0x24, 0xF8, 0x81, 0x4C, 0x24, 0xF8,
                                        0x00, 0x80, 0x00, 0x00, 0x0F, 0xAE, 0x54, 0x24, 0xF8};
    const ByteSpan rounding = assemble_routine([&](TinyAssembler& a) {
        a.embed(kFlushToZero);
        a.ret();
    });
    EXPECT_EQ(named_natively(rounding, Isa::kSse2), "changes MXCSR's control bits");
}

TEST(RoutineRegressions, SseRoutineThatTouchesYmmIsNamed) {
    const ByteSpan code = assemble_routine([](TinyAssembler& a) {
        a.vzeroupper();
        a.ret();
    });
    if (runs_here(some_case(Isa::kAvx2).kind())) {
        EXPECT_EQ(named_natively(code, Isa::kSse2), "touches the upper half of ymm0");
    }
    EXPECT_TRUE(named_by_interpreter(code, Isa::kSse2).starts_with("of another ISA than the key's: AVX"));
}

TEST(RoutineRegressions, StackIsAlignedAtTheCallAndAMisalignedAccessFaults) {
    for (const int place : {-24, -16}) {  // 16 bytes at rsp - 24 are aligned, since the return address is not
        const ByteSpan code = assemble_routine([&](TinyAssembler& a) {
            a.xorps(xmm(0), xmm(0));
            a.movaps(ptr(rsp, place), xmm(0));
            a.ret();
        });
        RoutineMemory memory(some_case(Isa::kSse2));
        const CallOutcome outcome = call_poisoned(
            reinterpret_cast<Routine>(const_cast<uint8_t*>(code.data())), memory.arguments(), Isa::kSse2);
        EXPECT_EQ(outcome.fault_signal != 0, place == -16);
        const bool refused =
            named_by_interpreter(code, Isa::kSse2).starts_with("an access that must be aligned is not");
        EXPECT_EQ(refused, place == -16);
    }
}

TEST(RoutineRegressions, RoutinesCallNothingSoTheyOweNobodyAnAlignedStack) {
    const ByteSpan code = assemble_routine([](TinyAssembler& a) {
        a.call(rax);
        a.ret();
    });
    EXPECT_TRUE(named_by_interpreter(code, Isa::kSse2).starts_with("a mnemonic that is not simulated: call"));
}

TEST(RoutineRegressions, OneFloatBeyondATensorIsNamed) {
    for (const int byte : {-4, 64}) {  // y has 64 bytes and ends at the guard page
        const ByteSpan code = assemble_routine([&](TinyAssembler& a) {
            a.mov(rax, ptr(rdi, offsetof(RmsNormArguments, y)));
            a.xorps(xmm(0), xmm(0));
            a.movss(ptr(rax, byte), xmm(0));
            a.ret();
        });
        const RoutineCase c = some_case(Isa::kSse2);
        RoutineMemory memory(c);
        const std::string native = run_natively(c, code, memory);
        // In front of y lies the canary; a fault says where it was.
        EXPECT_TRUE(byte < 0 ? native.starts_with("y[0] is") || native == "wrote outside of y"
                             : native.ends_with("at 0 bytes behind y"))
            << native;
        EXPECT_TRUE(named_by_interpreter(code, Isa::kSse2).starts_with("writes 4 bytes at")) << byte;
    }
}

// ---------------------------------------------------------------- lane order
/// y = some shuffle of x and weight, both loaded whole; `expected` are lanes of x (0 to 15) and weight (16 to 31).
struct LaneOrder {
    const char* name;
    VecLength length;
    void (*shuffle)(TinyAssembler& a);  ///< of vectors 1 (x) and 2 (weight) into 0
    std::vector<unsigned> expected;
    bool interpreted = true;
};
constexpr unsigned kZero = 99;

const std::vector<LaneOrder>& lane_orders() {
    using enum VecLength;
    using A = TinyAssembler;
    static const std::vector<LaneOrder> orders = {
        {"vpermilps", kYmm, [](A& a) { a.vpermilps(ymm(0), ymm(1), 0xB1); }, {1, 0, 3, 2, 5, 4, 7, 6}},
        {"vpermilps of zmm",
         kZmm,
         [](A& a) { a.vpermilps(zmm(0), zmm(1), 0x1B); },
         {3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12}},
        {"vshufps",
         kYmm,
         [](A& a) { a.vshufps(ymm(0), ymm(1), ymm(2), 0xE4); },
         {0, 1, 18, 19, 4, 5, 22, 23}},
        {"vunpcklps", kYmm, [](A& a) { a.vunpcklps(ymm(0), ymm(1), ymm(2)); }, {0, 16, 1, 17, 4, 20, 5, 21}},
        {"vmovsldup", kYmm, [](A& a) { a.vmovsldup(ymm(0), ymm(1)); }, {0, 0, 2, 2, 4, 4, 6, 6}},
        {"vmovshdup", kYmm, [](A& a) { a.vmovshdup(ymm(0), ymm(1)); }, {1, 1, 3, 3, 5, 5, 7, 7}},
        {"vpmovzxdq",
         kYmm,
         [](A& a) { a.vpmovzxdq(ymm(0), xmm(1)); },
         {0, kZero, 1, kZero, 2, kZero, 3, kZero}},
        {"vbroadcastss",
         kYmm,
         [](A& a) { a.vbroadcastss(ymm(0), xmm(2)); },
         {16, 16, 16, 16, 16, 16, 16, 16}},
        {"vmovhlps", kXmm, [](A& a) { a.vmovhlps(xmm(0), xmm(1), xmm(2)); }, {18, 19, 2, 3}},
        {"vextractf128", kXmm, [](A& a) { a.vextractf128(xmm(0), ymm(1), 1); }, {4, 5, 6, 7}},
        {"vextractf64x4",
         kYmm,
         [](A& a) { a.vextractf64x4(ymm(0), zmm(1), 1); },
         {8, 9, 10, 11, 12, 13, 14, 15}},
        {"vshuff32x4",
         kZmm,
         [](A& a) { a.vshuff32x4(zmm(0), zmm(1), zmm(2), 0x4E); },
         {8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}},
        // Those that cross 128 bits, which generators do not use yet: on the CPU only.
        {"vperm2f128",
         kYmm,
         [](A& a) { a.vperm2f128(ymm(0), ymm(1), ymm(2), 0x21); },
         {4, 5, 6, 7, 16, 17, 18, 19},
         false},
        {"vpermq", kYmm, [](A& a) { a.vpermq(ymm(0), ymm(1), 0xD8); }, {0, 1, 4, 5, 2, 3, 6, 7}, false},
    };
    return orders;
}

class LaneOrders : public testing::TestWithParam<size_t> {
 protected:
    static void expect_order(const LaneOrder& order, const RoutineMemory& memory, const char* by) {
        const auto& arguments = *static_cast<const RmsNormArguments*>(memory.arguments());
        for (size_t lane = 0; lane < order.expected.size(); ++lane) {
            const unsigned from = order.expected[lane];
            const float wanted = from == kZero ? 0
                                 : from < 16   ? arguments.x[from]
                                               : arguments.weight[from - 16];
            EXPECT_EQ(std::bit_cast<uint32_t>(arguments.y[lane]), std::bit_cast<uint32_t>(wanted))
                << order.name << " by " << by << ", lane " << lane;
        }
    }
};

TEST_P(LaneOrders, AreTheManuals) {
    const LaneOrder& order = lane_orders()[GetParam()];
    const std::string name = order.name;
    const bool needs_avx512 = order.length == VecLength::kZmm || name == "vextractf64x4";
    const RoutineCase c = some_case(needs_avx512 ? Isa::kAvx512 : Isa::kAvx2);
    const ByteSpan code = assemble_routine([&](TinyAssembler& a) {
        const VecLength whole = needs_avx512 ? VecLength::kZmm : VecLength::kYmm;
        a.mov(rax, ptr(rdi, offsetof(RmsNormArguments, x)));
        a.vmovups(vec(whole, 1), ptr(rax));
        a.mov(rax, ptr(rdi, offsetof(RmsNormArguments, weight)));
        a.vmovups(vec(whole, 2), ptr(rax));
        order.shuffle(a);
        a.mov(rax, ptr(rdi, offsetof(RmsNormArguments, y)));
        a.vmovups(ptr(rax), vec(order.length, 0));
        a.vzeroupper();
        a.ret();
    });
    if (order.interpreted) {
        RoutineMemory memory(c);
        const std::string wrong = interpret(c, code, memory).wrong;
        EXPECT_TRUE(wrong.starts_with("y[0] is")) << wrong;  // it is no norm, but breaks no other promise
        expect_order(order, memory, "the interpreter");
    }
    if (runs_here(c.kind())) {
        RoutineMemory memory(c);
        EXPECT_EQ(call_poisoned(reinterpret_cast<Routine>(const_cast<uint8_t*>(code.data())),
                                memory.arguments(), c.key.isa)
                      .wrong,
                  "");
        expect_order(order, memory, "the CPU");
    }
}
INSTANTIATE_TEST_SUITE_P(Each, LaneOrders, testing::Range(size_t{0}, lane_orders().size()));

}  // namespace
}  // namespace bareflow
