// bareflow-snap as a user runs it: arguments, output, exit status.
#include "persist/tools/snap.h"

#include <elf.h>
#include <gmock/gmock.h>

#include <sstream>

#include "emitter/routine_emitter.h"
#include "emitter/routine_maker.h"
#include "tests/unit/model/test_models.h"
#include "tests/unit/persist/sample_snapshot.h"

namespace bareflow {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Ran {
    int status;
    std::string out, errors;
};
Ran run(std::vector<std::string> arguments) {
    std::vector<const char*> argv = {"bareflow-snap"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    std::ostringstream out, errors;
    const int status = run_snap(static_cast<int>(argv.size()), argv.data(), out, errors);
    return {status, out.str(), errors.str()};
}

class SnapToolTest : public ::testing::Test {
 protected:
    /// A slot with one routine whose code is what the emitter makes.
    std::string slot(const std::string& name, uint64_t generation, Plan plan = {}) {
        testing::SampleSnapshot sample;
        const RoutineKey& key = sample.routines[0].key;
        const Plan complete = complete_plan(key, plan);
        std::vector<uint8_t> code(snapshot::kMaxRoutineBytes);
        code.resize(tiny_maker().make(key, complete, code).take());
        sample.routines[0].plan = complete;
        sample.codes[0] = code;
        const Buffer<uint8_t> payload = sample.write();
        sample.header.emitter_version = kEmitterVersion;
        sample.header.generation = generation;
        seal(sample.header);
        Bytes bytes(snapshot::kPayloadOffset + payload.size());
        std::memcpy(bytes.data(), &sample.header, sizeof sample.header);
        std::memcpy(bytes.data() + snapshot::kPayloadOffset, payload.data(), payload.size());
        code_ = code;
        return folder_.write(name, bytes);
    }
    TemporaryFolder folder_;
    std::vector<uint8_t> code_;
};

TEST_F(SnapToolTest, ListsWhatASlotHolds) {
    const Ran ran = run({"list", slot("a", 5)});
    EXPECT_EQ(ran.status, 0) << ran.errors;
    EXPECT_THAT(ran.out, AllOf(HasSubstr("generation 5, 7 boots, written 2023-11-14T22:13:20Z, stage full"),
                               HasSubstr("project_1x128x64_f32_muladd_sse2                 installed"),
                               HasSubstr("rms_norm_64_muladd_sse2                          slower"),
                               HasSubstr("2 routines of " + std::to_string(code_.size()) + " bytes")));
    EXPECT_THAT(ran.out, Not(HasSubstr("REFUSED")));
}

TEST_F(SnapToolTest, ChecksWhatAMachineWouldRefuse) {
    const std::string path = slot("a", 5);
    EXPECT_EQ(run({"check", path}).status, 0);
    Bytes bytes = read_file(path);
    // Other code, with CRCs that fit it.
    auto& header = *reinterpret_cast<snapshot::Header*>(bytes.data());
    uint8_t* const payload = bytes.data() + snapshot::kPayloadOffset;
    uint8_t* const code = payload + header.payload_bytes - header.code_bytes;
    code[0] ^= 1;
    auto& routine = *reinterpret_cast<snapshot::StoredRoutine*>(code - 2 * sizeof(snapshot::StoredRoutine));
    routine.code_crc32c = crc32c({code, routine.code_bytes});
    header.payload_crc32c = crc32c({payload, header.payload_bytes});
    seal(header);
    const Ran differs = run({"check", folder_.write("b", bytes)});
    EXPECT_EQ(differs.status, 1);
    EXPECT_THAT(differs.out, HasSubstr("project_1x128x64_f32_muladd_sse2: code_differs\n"));
    EXPECT_THAT(run({"list", folder_ / "b"}).out, HasSubstr("REFUSED: code_differs"));

    payload[70] ^= 1;
    const Ran damaged = run({"check", folder_.write("c", bytes)});
    EXPECT_EQ(damaged.status, 1);
    EXPECT_THAT(damaged.errors, HasSubstr("c: no snapshot that can be read: payload_crc"));
    EXPECT_THAT(run({"list", folder_.write("d", Bytes(20000))}).errors, HasSubstr("empty slot"));
    EXPECT_THAT(run({"list", folder_.write("e", Bytes(20000, 7))}).errors, HasSubstr("magic"));
    EXPECT_THAT(run({"list", folder_.write("f", Bytes(20, 7))}).errors, HasSubstr("small"));
    EXPECT_EQ(run({"list", folder_ / "none"}).status, 1);
}

TEST_F(SnapToolTest, TellsWhatIsDifferent) {
    const std::string a = slot("a", 5), b = slot("b", 6, {.panels = 1, .unroll = 8}), same = slot("c", 5);
    const Ran none = run({"diff", a, same});
    EXPECT_EQ(none.status, 0);
    EXPECT_EQ(none.out, "");
    const Ran ran = run({"diff", a, b});
    EXPECT_EQ(ran.status, 1);
    EXPECT_THAT(ran.out, AllOf(HasSubstr("~ header generation: 5 -> 6\n"),
                               HasSubstr("~ routine project_1x128x64_f32_muladd_sse2: installed panels=")));
}

TEST_F(SnapToolTest, ExtractsAnObjectFile) {
    const std::string path = slot("a", 5), object = folder_ / "out.o";
    for (const std::string& what : {std::string("project_1x128x64_f32_muladd_sse2"), std::string("--all")}) {
        const Ran ran = run({"extract", path, what, "-o", object});
        EXPECT_EQ(ran.status, 0) << ran.errors;
        const Bytes bytes = read_file(object);
        ASSERT_GT(bytes.size(), sizeof(Elf64_Ehdr));
        EXPECT_EQ(std::memcmp(bytes.data(), ELFMAG, SELFMAG), 0);
        EXPECT_NE(std::search(bytes.begin(), bytes.end(), code_.begin(), code_.end()), bytes.end());
        const std::string name = "project_1x128x64_f32_muladd_sse2";
        EXPECT_NE(std::search(bytes.begin(), bytes.end(), name.begin(), name.end()), bytes.end());
    }
    EXPECT_THAT(run({"extract", path, "rms_norm_64_muladd_sse2", "-o", object}).errors,
                HasSubstr("has no code: slower"));
    const Ran missing = run({"extract", path, "nonsense", "-o", object});
    EXPECT_EQ(missing.status, 1);
    EXPECT_THAT(missing.errors, HasSubstr("no routine nonsense; bareflow-snap list"));
}

TEST_F(SnapToolTest, AWrongCommandLineIsStatusTwo) {
    for (const std::vector<std::string>& arguments :
         std::vector<std::vector<std::string>>{{},
                                               {"list"},
                                               {"nonsense", "x"},
                                               {"extract", "x", "-o", "y"},
                                               {"extract", "x", "--all"},
                                               {"diff", "x"}}) {
        const Ran ran = run(arguments);
        EXPECT_EQ(ran.status, 2);
        EXPECT_NE(ran.errors, "");
    }
    EXPECT_EQ(run({"--version"}).status, 0);
    EXPECT_THAT(run({"--version"}).out, HasSubstr("bareflow-snap 0."));
    EXPECT_THAT(run({"--help"}).out, AllOf(HasSubstr("list"), HasSubstr("check"), HasSubstr("extract")));
}

}  // namespace
}  // namespace bareflow
