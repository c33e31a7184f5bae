// Fuzzes the reader of safetensors: bytes as a whole file, as its JSON header with the length put in front, or as the numbers
// of a header that is well written. Whatever is accepted can be read to the last value, and lies where it says.
#include "model/tools/safetensors.h"
#include "tests/fuzz/model_input.h"

using namespace bareflow;

namespace {

fuzz::Counts counts("files with tensors");

void read_all(const Safetensors& file) {
    const uint64_t size = file.files()[0].size();
    for (const auto& [name, entry] : file.tensors()) {
        if (!fits(entry.offset, entry.size, size)) fuzz::wrong("a tensor outside of the file was accepted");
        if (entry.type == SafetensorsType::kOther) continue;
        const uint64_t values = entry.size / (entry.type == SafetensorsType::kF32 ? 4 : 2);
        uint64_t product = 1;
        for (uint64_t extent : entry.shape) product *= extent;
        if (product != values) fuzz::wrong("a shape that its bytes do not fill was accepted");
        std::vector<float> out(values);
        if (!file.read(entry, 0, out).ok()) fuzz::wrong("an accepted tensor cannot be read");
        if (values > 0 && !file.read(entry, values - 1, std::span(out).first(1)).ok())
            fuzz::wrong("nor can its last value");
    }
    counts.accepted += !file.tensors().empty();
}

/// A JSON header from bytes: for each five of them a tensor of some type and shape, mostly where the one before it ends.
std::string header_of(std::span<const uint8_t> bytes) {
    constexpr std::string_view kTypes[] = {"F32", "F16", "BF16", "I8", "F64", "?"};
    constexpr uint32_t kSizes[] = {4, 2, 2, 1, 8, 3};
    std::string header;
    uint64_t end = 0;
    for (size_t i = 0; i + 5 <= bytes.size(); i += 5) {
        const uint8_t* const b = &bytes[i];
        const size_t type = b[0] % std::size(kTypes);
        const uint64_t rows = b[1] == 255 ? uint64_t{1} << (b[2] % 64) : b[1] % 8, columns = b[2] % 8;
        const uint64_t begin = b[3] % 8 == 0 ? b[4] : end + (b[3] % 8 == 1 ? b[4] % 4 : 0);
        end = begin + rows * columns * kSizes[type] + (b[3] % 16 == 2 ? b[4] : 0);
        header += FixedString<160>::formatted(
                      "{}\"{}\":{{\"dtype\":\"{}\",\"shape\":[{},{}],\"data_offsets\":[{},{}]}}",
                      header.empty() ? "" : ",", i, kTypes[type], rows, columns, begin, end)
                      .view();
    }
    return "{" + header + "}";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    ++counts.runs;
    std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    // The first byte says what the rest is: a whole file, numbers of a header, or text of which so much is header.
    constexpr uint8_t kWholeFile = 255, kLastOfNumbers = 127;
    if (data[0] <= kLastOfNumbers) {
        bytes = header_of({data + 1, size - 1});
        const uint64_t length = bytes.size();
        bytes.insert(0, reinterpret_cast<const char*>(&length), sizeof length);
        bytes.resize(bytes.size() + data[0] * 8, 'x');
    } else if (data[0] != kWholeFile) {
        const uint64_t length =
            std::min<uint64_t>(bytes.size(), (data[0] - kLastOfNumbers) * bytes.size() / 127 + 1);
        bytes.insert(0, reinterpret_cast<const char*>(&length), sizeof length);
        bytes.resize(bytes.size() + 64, 'x');  // so that short headers have tensors
    }
    const fuzz::MemoryFile file(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    const auto opened = Safetensors::open(file.path());
    if (opened.ok()) read_all(opened.value());
    return 0;
}
