// A disk that is a file of the host: an image, or a real disk's node. Everything is done within start().
#pragma once

#include <string>

#include "persist/block_device.h"

namespace bareflow {

class FileBlockDevice final : public BlockDevice {
 public:
    enum class Access : uint8_t { kReadOnly, kReadWrite };

    /// With kReadWrite, a file that may only be read becomes a read-only disk. Bytes behind the last whole sector are
    /// not seen. kNotFound: there is no such file; kDevice: it cannot be opened, or has no size.
    static Result<FileBlockDevice> open(const std::string& path, Access access);

    FileBlockDevice(FileBlockDevice&& other) noexcept;
    FileBlockDevice& operator=(FileBlockDevice&&) = delete;
    ~FileBlockDevice() override;

    std::string_view name() const override { return path_; }
    Limits limits() const override { return {sectors_, kRequestBytes, 1, read_only_}; }
    void start(BlockRequest& request) override;
    void poll() override {}

 private:
    static constexpr size_t kRequestBytes = 1 << 20;

    FileBlockDevice(std::string path, int fd, uint64_t sectors, bool read_only);
    Result<void> run(const BlockRequest& request) const;

    std::string path_;
    int fd_;
    uint64_t sectors_;
    bool read_only_;
};

}  // namespace bareflow
