#include "arch/base/async_file.h"

#include <algorithm>

#include "arch/base/bytes.h"

namespace bareflow {

Result<void> AsyncFile::read_now(uint64_t offset, std::span<uint8_t> out, std::span<uint8_t> scratch) {
    if (!fits(offset, out.size(), size())) {
        return Error::make(ErrorCode::kOutOfRange, "{} bytes at {} are not within the file's {}", out.size(),
                           offset, size());
    }
    while (!out.empty()) {
        const uint64_t skip = offset % kUnit;
        const uint64_t wanted = (skip + out.size() + kUnit - 1) / kUnit * kUnit;
        const std::span<uint8_t> room = scratch.first(std::min<uint64_t>(wanted, scratch.size()));
        size_t got = 0;
        while (got <= skip) {  // a read may be cut short before the first byte that is wanted
            Read read{offset - skip + got, room.subspan(got), false, {}};
            while (!start(read)) poll();
            while (!read.done) poll();
            TRY(read.outcome);
            got += read.out.size();
        }
        const size_t count = std::min<uint64_t>(out.size(), got - skip);
        __builtin_memcpy(out.data(), scratch.data() + skip, count);
        out = out.subspan(count);
        offset += count;
    }
    return {};
}

}  // namespace bareflow
