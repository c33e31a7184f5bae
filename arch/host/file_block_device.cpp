#include "arch/host/file_block_device.h"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace bareflow {

Result<FileBlockDevice> FileBlockDevice::open(const std::string& path, Access access) {
    bool read_only = access == Access::kReadOnly;
    int fd = ::open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (fd < 0 && !read_only && (errno == EACCES || errno == EROFS || errno == EPERM)) {
        read_only = true;
        fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return Error::make(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kDevice,
                           "{}: cannot open the disk: {}", path, std::strerror(errno));
    }
    const off_t bytes = ::lseek(fd, 0, SEEK_END);
    if (bytes < 0) {
        const int reason = errno;
        ::close(fd);
        return Error::make(ErrorCode::kDevice, "{}: a disk needs a size: {}", path, std::strerror(reason));
    }
    return FileBlockDevice(path, fd, static_cast<uint64_t>(bytes) / kSectorBytes, read_only);
}

FileBlockDevice::FileBlockDevice(std::string path, int fd, uint64_t sectors, bool read_only)
    : path_(std::move(path)), fd_(fd), sectors_(sectors), read_only_(read_only) {}

FileBlockDevice::FileBlockDevice(FileBlockDevice&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      sectors_(other.sectors_),
      read_only_(other.read_only_) {}

FileBlockDevice::~FileBlockDevice() {
    if (fd_ >= 0) ::close(fd_);
}

Result<void> FileBlockDevice::run(const BlockRequest& request) const {
    if (request.kind == BlockRequest::Kind::kFlush) {
        if (read_only_ || ::fdatasync(fd_) == 0) return {};
        return Error::make(ErrorCode::kDevice, "{}: cannot flush: {}", path_, std::strerror(errno));
    }
    const bool reading = request.kind == BlockRequest::Kind::kRead;
    for (size_t done = 0; done < request.data.size();) {
        uint8_t* at = request.data.data() + done;
        const size_t left = request.data.size() - done;
        const auto offset = static_cast<off_t>(request.sector * kSectorBytes + done);
        const ssize_t moved = reading ? ::pread(fd_, at, left, offset) : ::pwrite(fd_, at, left, offset);
        if (moved < 0 && errno == EINTR) continue;
        if (moved <= 0) {
            return Error::make(ErrorCode::kDevice, "{}: cannot {} sector {}: {}", path_,
                               reading ? "read" : "write", request.sector + done / kSectorBytes,
                               moved == 0 ? "the file has become shorter" : std::strerror(errno));
        }
        done += static_cast<size_t>(moved);
    }
    return {};
}

void FileBlockDevice::start(BlockRequest& request) {
    request.outcome = run(request);
    request.done = true;
}

}  // namespace bareflow
