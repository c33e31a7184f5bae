// The MADT as QEMU's q35 gives it, and what a broken one may do: nothing.
#include "arch/x86_64/madt.h"

#include <gmock/gmock.h>

#include <vector>

namespace bareflow {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// Header, local APIC address and flags: not looked at.
std::vector<uint8_t> table(std::initializer_list<std::vector<uint8_t>> entries) {
    std::vector<uint8_t> bytes(44);
    for (const auto& entry : entries) bytes.insert(bytes.end(), entry.begin(), entry.end());
    return bytes;
}
std::vector<uint32_t> ids_of(const std::vector<uint8_t>& bytes) {
    const ProcessorList list = parse_madt(bytes);
    return {list.ids().begin(), list.ids().end()};
}
std::vector<uint8_t> local_apic(uint8_t id, uint8_t flags) { return {0, 8, id, id, flags, 0, 0, 0}; }
std::vector<uint8_t> x2apic(uint16_t id, uint8_t flags) {
    return {9, 16, 0, 0, static_cast<uint8_t>(id), static_cast<uint8_t>(id >> 8), 0, 0, flags, 0, 0, 0,
            0, 0,  0, 0};
}
const std::vector<uint8_t> kIoApic = {1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0};
const std::vector<uint8_t> kOverride = {2, 10, 0, 0, 2, 0, 0, 0, 0, 0};
const std::vector<uint8_t> kNmi = {4, 6, 0xFF, 0, 0, 1};

TEST(Madt, ListsTheProcessorsOfQemu) {
    // qemu-system-x86_64 7.2 -machine q35 -smp 4: processors, I/O APIC, overrides, NMI.
    EXPECT_THAT(ids_of(table({local_apic(0, 1), local_apic(1, 1), local_apic(2, 1), local_apic(3, 1), kIoApic,
                              kOverride, kOverride, kNmi})),
                ElementsAre(0, 1, 2, 3));
}

TEST(Madt, LeavesOutWhatIsDisabledAndWhatWasListedBefore) {
    EXPECT_THAT(ids_of(table({local_apic(0, 1), local_apic(7, 0), local_apic(2, 2), x2apic(0, 1),
                              x2apic(300, 1), x2apic(301, 0)})),
                ElementsAre(0, 300));
}

TEST(Madt, ABrokenTableGivesWhatStandsBeforeTheBreak) {
    EXPECT_THAT(ids_of({}), IsEmpty());
    EXPECT_THAT(ids_of(std::vector<uint8_t>(43)), IsEmpty());
    EXPECT_THAT(ids_of(table({})), IsEmpty());
    EXPECT_THAT(ids_of(table({local_apic(5, 1), {0, 0}, local_apic(6, 1)})), ElementsAre(5)) << "length 0";
    EXPECT_THAT(ids_of(table({local_apic(5, 1), {0, 1}, local_apic(6, 1)})), ElementsAre(5)) << "length 1";
    EXPECT_THAT(ids_of(table({local_apic(5, 1), {0, 200, 6, 6, 1, 0, 0, 0}})), ElementsAre(5))
        << "beyond the end";
    EXPECT_THAT(ids_of(table({local_apic(5, 1), {0, 6, 6, 6, 1, 0}, local_apic(7, 1)})), ElementsAre(5, 7))
        << "an entry too short for its flags";
    EXPECT_THAT(ids_of(table({local_apic(5, 1), {0}})), ElementsAre(5)) << "half a header";
}

TEST(Madt, MoreProcessorsThanThereIsRoomForAreLeftOut) {
    std::vector<uint8_t> bytes = table({});
    for (unsigned id = 0; id < 2 * ProcessorList::kMax; ++id) {
        const std::vector<uint8_t> entry = x2apic(static_cast<uint16_t>(id), 1);
        bytes.insert(bytes.end(), entry.begin(), entry.end());
    }
    EXPECT_EQ(ids_of(bytes).size(), size_t{ProcessorList::kMax});
}

}  // namespace
}  // namespace bareflow
