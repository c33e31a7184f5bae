// Protocol Buffers' wire format (protobuf.dev "Encoding"), field by field, of untrusted bytes.
#pragma once

#include <cstdint>

#include "arch/base/bytes.h"

namespace bareflow {

struct ProtobufField {
    uint32_t number = 0;
    enum class Wire : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 } wire = Wire::kVarint;
    uint64_t value = 0;   ///< of a varint or fixed field
    ByteSpan bytes;       ///< of a kBytes field
    uint64_t offset = 0;  ///< of the field, from the start of the message

    float as_float() const {
        const auto bits = static_cast<uint32_t>(value);
        float result;
        __builtin_memcpy(&result, &bits, sizeof result);
        return result;
    }
};

/// Takes a message apart. Groups, which proto2 no longer has, are malformed.
class ProtobufReader {
 public:
    explicit ProtobufReader(ByteSpan message) : reader_(message) {}

    /// The next field. False at the end, and where the bytes are no field: then ok() is false too.
    bool next(ProtobufField& field) {
        if (!ok_ || reader_.left() == 0) return false;
        field = {};
        field.offset = reader_.position();
        const uint64_t tag = varint();
        field.wire = static_cast<ProtobufField::Wire>(tag & 7);
        ok_ = ok_ && (tag >> 3) != 0 && (tag >> 3) < (1u << 29);
        field.number = static_cast<uint32_t>(tag >> 3);
        switch (field.wire) {
            case ProtobufField::Wire::kVarint:
                field.value = varint();
                break;
            case ProtobufField::Wire::kFixed64:
                field.value = reader_.read<uint64_t>();
                break;
            case ProtobufField::Wire::kFixed32:
                field.value = reader_.read<uint32_t>();
                break;
            case ProtobufField::Wire::kBytes:
                field.bytes = reader_.take(varint());
                break;
            default:
                ok_ = false;
        }
        ok_ = ok_ && reader_.ok();
        return ok_;
    }
    bool ok() const { return ok_; }
    uint64_t position() const { return reader_.position(); }

 private:
    /// Seven bits a byte, the lowest first; ten bytes at most.
    uint64_t varint() {
        uint64_t value = 0;
        for (uint32_t shift = 0; shift < 64; shift += 7) {
            const auto byte = reader_.read<uint8_t>();
            if (!reader_.ok()) break;
            value |= uint64_t{byte & 0x7Fu} << shift;
            if ((byte & 0x80) == 0) return value;
        }
        ok_ = false;
        return 0;
    }
    ByteReader reader_;
    bool ok_ = true;
};

}  // namespace bareflow
