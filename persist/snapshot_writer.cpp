#include "persist/snapshot_writer.h"

#include "arch/base/crc32c.h"

namespace bareflow {
namespace {

using namespace snapshot;

/// Puts one thing behind another into bytes that are enough.
class Filler {
 public:
    explicit Filler(std::span<uint8_t> out) : out_(out) {}
    void put(const void* bytes, size_t size) {
        ASSERT(size <= out_.size());
        if (size != 0) __builtin_memcpy(out_.data(), bytes, size);
        out_ = out_.subspan(size);
    }
    template <typename T>
    void put(std::span<T> items) {
        put(items.data(), items.size_bytes());
    }
    void skip(size_t size) { out_ = out_.subspan(size); }

 private:
    std::span<uint8_t> out_;
};

constexpr uint64_t aligned(uint64_t offset) {
    return (offset + kCodeAlignment - 1) / kCodeAlignment * kCodeAlignment;
}

/// Gives each routine its place; the bytes of all code.
uint64_t place_code(const SnapshotContent& content) {
    uint64_t end = 0;
    for (size_t i = 0; i < content.routines.size(); ++i) {
        StoredRoutine& routine = content.routines[i];
        const bool has_code = !content.codes[i].empty();
        const uint64_t offset = has_code ? aligned(end) : 0;
        routine.code_offset = static_cast<uint32_t>(offset);
        routine.code_bytes = static_cast<uint32_t>(content.codes[i].size());
        routine.code_crc32c = crc32c(content.codes[i]);
        if (has_code) end = offset + content.codes[i].size();
    }
    return end;
}

}  // namespace

Result<Buffer<uint8_t>> write_payload(Header& header, const SnapshotContent& content, Allocator& allocator) {
    ASSERT(content.codes.size() == content.routines.size());
    const uint64_t code = place_code(content);
    if (content.boots.size() > kMaxBoots || content.plans.size() > kMaxPlans ||
        content.profiles.size() > kMaxProfiles || content.routines.size() > kMaxRoutines ||
        code > kMaxCodeBytes) {
        return Error::make(ErrorCode::kOutOfRange,
                           "a snapshot of {} boots, {} plans, {} profiles, {} routines and {} bytes of code "
                           "is more than its format holds (persist/snapshot_format.h)",
                           content.boots.size(), content.plans.size(), content.profiles.size(),
                           content.routines.size(), code);
    }
    header.magic = kMagic;
    header.version = kFormatVersion;
    header.boot_records = static_cast<uint32_t>(content.boots.size());
    header.plans = static_cast<uint32_t>(content.plans.size());
    header.profiles = static_cast<uint32_t>(content.profiles.size());
    header.routines = static_cast<uint32_t>(content.routines.size());
    header.code_bytes = static_cast<uint32_t>(code);
    header.required_features = 0;
    for (const StoredRoutine& routine : content.routines)
        header.required_features |= routine.required_features;
    header.payload_bytes =
        payload_size(header.boot_records, header.plans, header.profiles, header.routines, code);

    const uint64_t sectors = (header.payload_bytes + kSectorBytes - 1) / kSectorBytes;
    Buffer<uint8_t> payload = TRY(Buffer<uint8_t>::make(allocator, sectors * kSectorBytes, "snapshot"));
    Filler filler(payload.span());
    filler.put(&content.totals, sizeof content.totals);
    filler.put(content.boots);
    filler.put(content.plans);
    filler.put(content.profiles);
    filler.put(content.routines);
    uint64_t end = 0;
    for (size_t i = 0; i < content.codes.size(); ++i) {
        if (content.codes[i].empty()) continue;
        filler.skip(content.routines[i].code_offset - end);
        filler.put(content.codes[i]);
        end = content.routines[i].code_offset + content.codes[i].size();
    }
    header.payload_crc32c = crc32c({payload.data(), header.payload_bytes});
    return payload;
}

void seal(Header& header) {
    header.header_crc32c =
        crc32c({reinterpret_cast<const uint8_t*>(&header), offsetof(Header, header_crc32c)});
}
void seal(BootMark& mark) {
    mark.crc32c = crc32c({reinterpret_cast<const uint8_t*>(&mark), offsetof(BootMark, crc32c)});
}

}  // namespace bareflow
