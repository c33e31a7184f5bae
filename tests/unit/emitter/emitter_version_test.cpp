// Stored routines are taken for what the emitter makes as long as kEmitterVersion is the same. So it must count up whenever
// bytes change; this test knows the bytes of a list of routines by their CRC.
#include <gtest/gtest.h>

#include <vector>

#include "arch/base/crc32c.h"
#include "emitter/routine_emitter.h"
#include "emitter/routine_maker.h"

namespace bareflow {
namespace {

/// After a change of what is emitted: kEmitterVersion plus one, and here the new version and what the test says it found.
constexpr uint32_t kVersionOfBytes = 2;
constexpr uint32_t kBytes = 2417952810;

/// Every operation in every ISA, class, type and epilogue, one row and a block, in several plans.
template <typename Body>
void for_each_routine(Body body) {
    for (const OperationNaming& naming : operation_namings()) {
        const RoutineKey example = parse_key(naming.example).take();
        for (const Isa isa : kIsas) {
            for (const NumericClass numerics : kNumericClasses) {
                for (const ElementType type : kElementTypes) {
                    for (const Epilogue epilogue : {Epilogue::kStore, Epilogue::kAdd, Epilogue::kArgmax}) {
                        for (const uint32_t m : {1u, 16u}) {
                            RoutineKey key = example;
                            key.isa = isa;
                            key.numerics = numerics;
                            key.epilogue = epilogue;
                            key.m = m;
                            if (naming.has_weights || naming.has_cache) key.type = type;
                            if (can_emit(key)) body(key);
                        }
                    }
                }
            }
        }
    }
}

TEST(EmitterVersion, CountsUpWhenBytesChange) {
    std::vector<uint8_t> room(1 << 20);
    uint32_t crc = 0;
    unsigned routines = 0;
    for_each_routine([&](const RoutineKey& key) {
        constexpr Plan kAnyPlans[] = {
            {}, {.panels = 1, .unroll = 1}, {.panels = 5, .rows = 3, .unroll = 2, .prefetch = 256}};
        for (const Plan& wanted : kAnyPlans) {
            const Plan plan = wanted == Plan{} ? default_plan(key) : complete_plan(key, wanted);
            const Result<size_t> size = tiny_maker().make(key, plan, room);
            ASSERT_TRUE(size.ok()) << name_of(key).view();
            crc = crc32c({room.data(), size.value()}, crc);
            ++routines;
        }
    });
    EXPECT_GT(routines, 500u);
    EXPECT_EQ(kVersionOfBytes, kEmitterVersion);
    EXPECT_EQ(crc, kBytes)
        << "emitted bytes have changed: count kEmitterVersion (emitter/routine_emitter.h) up, then put "
           "it and this CRC here";
}

// What is restored is compared with what the emitter makes of the stored plan: completing it must change nothing.
TEST(EmitterVersion, ACompletePlanStaysAsItIs) {
    for_each_routine([&](const RoutineKey& key) {
        const Plan plan = default_plan(key);
        EXPECT_TRUE(complete_plan(key, plan) == plan) << name_of(key).view();
    });
}

TEST(EmitterVersion, WhatAnIsaNeedsIsWhatItRunsOn) {
    for (const Isa isa : kIsas) {
        for (const NumericClass numerics : kNumericClasses) {
            const uint64_t needed = feature_bits(needed_features(isa, numerics));
            const bool legacy = isa == Isa::kSse2 || isa == Isa::kSsse3;
            EXPECT_EQ(runs_on(features_of_bits(needed), isa, numerics),
                      !(legacy && numerics == NumericClass::kFma));
            for (unsigned bit = 0; bit < 64; ++bit) {
                if ((needed >> bit & 1) == 0) continue;
                EXPECT_FALSE(runs_on(features_of_bits(~(uint64_t{1} << bit)), isa, numerics))
                    << name_of(isa) << bit;
            }
        }
    }
}

}  // namespace
}  // namespace bareflow
