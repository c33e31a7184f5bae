// Files as the tools use them: read at any offset, mapped, or written beside their target and renamed. Errors name the
// file and say what the system said.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "arch/base/bytes.h"
#include "arch/base/result.h"

namespace bareflow {

/// The last part of `path`, a folder's too, which errors and provenance name.
std::string base_name(const std::string& path);
/// `text` fit for a terminal, and for a `key=value` line of UTF-8: controls (C0, DEL, C1) and what is no UTF-8 become '?'.
std::string printable(std::string_view text);

/// A file descriptor that closes itself.
class Descriptor {
 public:
    explicit Descriptor(int fd = -1) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
    Descriptor& operator=(Descriptor&& other) noexcept;
    ~Descriptor();
    int get() const { return fd_; }
    int release();

 private:
    int fd_;
};

/// A regular file to be read at offsets.
class InputFile {
 public:
    static Result<InputFile> open(const std::string& path);

    const std::string& name() const { return name_; }
    uint64_t size() const { return size_; }
    /// Fills `out` with the bytes from `offset` on; too few is an error.
    Result<void> read_at(uint64_t offset, std::span<uint8_t> out) const;
    /// CRC-32C of the whole file.
    Result<uint32_t> checksum() const;

 private:
    InputFile(Descriptor fd, std::string name, uint64_t size)
        : fd_(std::move(fd)), name_(std::move(name)), size_(size) {}
    Descriptor fd_;
    std::string name_;
    uint64_t size_;
};

/// A whole file in memory, read-only, at a page boundary.
class MappedFile {
 public:
    static Result<MappedFile> open(const std::string& path);
    /// Maps what `fd` holds; `fd` stays the caller's and may be closed. `name` is for errors.
    static Result<MappedFile> map(int fd, const std::string& name);
    MappedFile(MappedFile&& other) noexcept : bytes_(other.bytes_) { other.bytes_ = {}; }
    MappedFile& operator=(MappedFile&&) = delete;
    ~MappedFile();
    ByteSpan bytes() const { return bytes_; }

 private:
    explicit MappedFile(ByteSpan bytes) : bytes_(bytes) {}
    ByteSpan bytes_;
};

/// Writes into a descriptor that stays the caller's.
class FileWriter {
 public:
    FileWriter(int fd, std::string name) : fd_(fd), name_(std::move(name)) {}
    /// Makes the file `size` zero bytes long.
    Result<void> reset(uint64_t size);
    Result<void> write_at(uint64_t offset, ByteSpan bytes);

 private:
    int fd_;
    std::string name_;
};

/// Takes away what processes that are no more have left of ReplacementFiles in `folder`.
void remove_abandoned(const std::string& folder);

/// A file that takes the place of `target` only when it is finished; until then it stands beside it under another
/// name, and goes away if it is never committed.
class ReplacementFile {
 public:
    static Result<ReplacementFile> create(const std::string& target);
    ReplacementFile(ReplacementFile&& other) noexcept;
    ReplacementFile& operator=(ReplacementFile&&) = delete;
    ~ReplacementFile();
    int fd() const { return fd_.get(); }
    Result<void> commit();

 private:
    ReplacementFile(Descriptor fd, std::string target, std::string temporary)
        : fd_(std::move(fd)), target_(std::move(target)), temporary_(std::move(temporary)) {}
    Descriptor fd_;
    std::string target_;
    std::string temporary_;  ///< empty once it is gone
};

}  // namespace bareflow
