#include "model/tools/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/unit/model/hf_files.h"

namespace bareflow {
namespace {

using testing::as_bytes;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HfTensor;

/// A file with this header and as many bytes of tensors.
std::string file_of(const std::string& header, size_t data_bytes) {
    const uint64_t length = header.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header +
           std::string(data_bytes, '\0');
}

class SafetensorsFiles : public ::testing::Test {
 protected:
    std::string refusal(const std::string& bytes) {
        const auto opened = Safetensors::open(folder.write("m.safetensors", as_bytes(bytes)));
        return opened.ok() ? "" : std::string(opened.error().message());
    }
    std::string refusal_of_header(const std::string& header, size_t data_bytes = 16) {
        return refusal(file_of(header, data_bytes));
    }
    std::string refusal_of_index(const std::string& index) {
        const auto opened =
            Safetensors::open_index(folder.write("model.safetensors.index.json", as_bytes(index)));
        return opened.ok() ? "" : std::string(opened.error().message());
    }
    std::vector<float> values_of(const Safetensors& file, const std::string& name, uint64_t first,
                                 size_t count) {
        std::vector<float> values(count);
        EXPECT_TRUE(file.read(file.tensors().at(name), first, values).ok());
        return values;
    }
    TemporaryFolder folder;
};

TEST_F(SafetensorsFiles, AreReadInEachTypeOfWeights) {
    const std::string halves("\x00\x3C\x00\xC0\x01\x00\xFF\x7B", 8);  // 1, -2, 2^-24, 65504
    const std::string brains("\x80\x3F\x00\xC0\x40\x40\x80\x00", 8);  // 1, -2, 3, the least normal number
    const float plain[] = {1.5f, -0.0f, 1e-40f};
    const std::string floats(reinterpret_cast<const char*>(plain), sizeof plain);
    const std::string path =
        folder.write("m.safetensors", as_bytes(testing::safetensors({{"f32", "F32", "[3]", floats},
                                                                     {"f16", "F16", "[2,2]", halves},
                                                                     {"bf16", "BF16", "[4,1]", brains}})));
    const Safetensors file = Safetensors::open(path).take();
    EXPECT_THAT(values_of(file, "f32", 0, 3), ElementsAre(1.5f, -0.0f, 1e-40f));
    EXPECT_THAT(values_of(file, "f16", 1, 3), ElementsAre(-2.0f, 0x1p-24f, 65504.0f));
    EXPECT_THAT(values_of(file, "bf16", 0, 4),
                ElementsAre(1.0f, -2.0f, 3.0f, std::numeric_limits<float>::min()));
    EXPECT_THAT(file.tensors().at("f16").shape, ElementsAre(2, 2));
}

TEST_F(SafetensorsFiles, MayHaveGapsOtherTypesAndEmptyTensors) {
    EXPECT_EQ(refusal_of_header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
                                R"("b":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
                                R"("c":{"dtype":"F4_NEW","shape":[7],"data_offsets":[12,13]},)"
                                R"("d":{"dtype":"F32","shape":[0,5],"data_offsets":[9,9]}})"),
              "");
}

TEST_F(SafetensorsFiles, AreRefusedWithTheFieldThatIsWrong) {
    const auto tensor = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
        return "{\"a\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
    };
    const std::string f32 = "\"F32\"";
    const struct {
        std::string header;
        const char* expected;
    } kCases[] = {
        {tensor(f32, "[1]", "[0,4"), "is no JSON from offset"},
        {"[]", "its JSON is no object"},
        {"{\"a\":7}", "a.dtype is missing"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "m.safetensors: a.data_offsets is missing"},
        {tensor("7", "[1]", "[0,4]"), "a.dtype: must be a text"},
        {tensor(f32, "4", "[0,4]"), "a.shape: must be a list"},
        {tensor(f32, "[-1]", "[0,4]"), "a.shape[0] must be a whole number"},
        {tensor(f32, "[1.0]", "[0,4]"), "a.shape[0] must be a whole number"},
        {tensor(f32, "[1,1,1,1,1,1,1,1,1]", "[0,4]"), "a.shape: must be a list"},
        {tensor(f32, "[1]", "[4,0]"), "a.data_offsets: must be two ascending numbers"},
        {tensor(f32, "[1]", "[4]"), "a.data_offsets: must be two ascending numbers"},
        {tensor(f32, "[1]", "[0,4,8]"), "a.data_offsets: must be a list"},
        {tensor(f32, "[5]", "[0,20]"), "a.data_offsets end at 20 of the 16 bytes of tensors"},
        {tensor(f32, "[1]", "[18446744073709551612,18446744073709551615]"),
         "a.data_offsets[0] is 18446744073709551612"},
        {tensor(f32, "[2]", "[0,4]"), "a.data_offsets hold 4 bytes, but shape and dtype ask for 8"},
        {tensor("\"BF16\"", "[1]", "[0,4]"), "ask for 2"},
        {tensor(f32, "[4611686018427387904]", "[0,0]"), "a.shape: its product overflows"},
        {tensor(f32, "[4294967296,4294967296]", "[0,0]"), "a.shape: its product overflows"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":"
         "[2],\"data_offsets\":[4,12]}}",
         "a and b overlap at 1"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":"
         "[1],\"data_offsets\":[4,8]}}",
         "the key \"a\" stands twice"},
        {"{\"__metadata__\":" + std::string(40, '[') + std::string(40, ']') + "}", "more than 32 levels"},
        {"{\"a\":1e999}", "holds a number that no double can be"},
        {"{\"\xFF\":1}", "is no JSON"},
    };
    for (const auto& [header, expected] : kCases) {
        EXPECT_THAT(refusal_of_header(header), HasSubstr(expected)) << header;
    }
}

TEST_F(SafetensorsFiles, AreRefusedIfTheHeadersLengthCannotBeTrue) {
    const std::string good = file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4);
    ASSERT_EQ(refusal(good), "");
    for (size_t size = 0; size < good.size(); ++size) ASSERT_NE(refusal(good.substr(0, size)), "") << size;
    for (uint64_t length :
         {uint64_t{1} << 24, uint64_t{1} << 40, ~uint64_t{0}, ~uint64_t{7}, uint64_t{good.size()}}) {
        std::string changed = good;
        std::memcpy(changed.data(), &length, sizeof length);
        EXPECT_THAT(refusal(changed), HasSubstr("m.safetensors: the header's length (offset 0) is"))
            << length;
    }
}

TEST_F(SafetensorsFiles, AnIndexMustSayWhereEachTensorIsAndNothingElse) {
    const HfTensor a{"a", "F32", "[1]", std::string(4, '\0')}, b{"b", "F32", "[1]", std::string(4, '\1')};
    folder.write("1.safetensors", as_bytes(testing::safetensors({a})));
    folder.write("2.safetensors", as_bytes(testing::safetensors({b})));
    folder.write("3.safetensors", as_bytes(testing::safetensors({a})));
    const auto with = [&](const std::string& map) {
        return refusal_of_index("{\"weight_map\":{" + map + "}}");
    };
    EXPECT_EQ(with(R"("a":"1.safetensors","b":"2.safetensors")"), "");
    EXPECT_THAT(with(R"("a":"2.safetensors","b":"1.safetensors")"),
                HasSubstr("1.safetensors: holds a, which"));
    EXPECT_THAT(with(R"("b":"2.safetensors","c":"2.safetensors")"),
                HasSubstr("weight_map.c: is not in 2.safetensors"));
    EXPECT_THAT(with(R"("a":"1.safetensors","b":"3.safetensors")"),
                HasSubstr("3.safetensors: a stands in 1.safetensors too"));
    EXPECT_THAT(with(R"("a":"4.safetensors")"), HasSubstr("4.safetensors: cannot be opened"));
    EXPECT_THAT(with(R"("a":7)"), HasSubstr("weight_map.a: must be a text"));
    EXPECT_THAT(with(""), HasSubstr("names 0 files"));
    EXPECT_THAT(refusal_of_index("{}"), HasSubstr("weight_map is missing"));
    EXPECT_THAT(refusal_of_index("{\"weight_map\":3}"), HasSubstr("weight_map: must be an object"));
}

TEST_F(SafetensorsFiles, AnIndexCannotReachOutOfItsFolder) {
    for (const char* name : {"../m.safetensors", "/etc/passwd", "a/b", "..", ".", "", "a\\u0000b"}) {
        EXPECT_THAT(refusal_of_index("{\"weight_map\":{\"a\":\"" + std::string(name) + "\"}}"),
                    HasSubstr("weight_map.a: must be the name of a file beside the index"))
            << name;
    }
}

}  // namespace
}  // namespace bareflow
