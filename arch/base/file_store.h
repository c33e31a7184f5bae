// Whole files by name: where the chat keeps conversations. A disk's FAT16 in the kernel, a folder on the host.
#pragma once

#include <span>
#include <string_view>

#include "arch/base/bytes.h"
#include "arch/base/result.h"

namespace bareflow {

/// Names are a DOS file's: 1 to 8 letters and digits, a dot, and 3 of them, in upper case.
class FileStore {
 public:
    /// Bytes of the file; kNotFound: there is none.
    virtual Result<uint64_t> file_size(std::string_view name) = 0;
    virtual Result<void> read_file(std::string_view name, uint64_t offset, std::span<uint8_t> out) = 0;
    /// The file becomes `parts`, one after another, at least kKindBytes in the first. Wherever the power fails, the old file
    /// or the new one is there, whole. kOutOfRange: no room; kInvalid: a file of another kind has the name: its first
    /// kKindBytes are others. Nothing has changed then.
    virtual Result<void> replace_file(std::string_view name, std::span<const ByteSpan> parts) = 0;
    static constexpr size_t kKindBytes = 8;

 protected:
    ~FileStore() = default;
};

}  // namespace bareflow
