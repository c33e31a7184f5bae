#include "arch/host/folder_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <optional>

namespace bareflow {
namespace {

Error system_error(std::string_view what, const std::string& path) {
    return Error::make(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kDevice, "{} {}: {}", what, path,
                       strerror(errno));
}

/// Closed when it goes out of scope.
class File {
 public:
    File(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, kReadableByAll)) {}
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    int fd() const { return fd_; }
    bool ok() const { return fd_ >= 0; }
    bool write(ByteSpan bytes) const {
        while (!bytes.empty()) {
            const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
            if (done > 0) bytes = bytes.subspan(static_cast<size_t>(done));
            if (done < 0 && errno != EINTR) return false;
        }
        return true;
    }

 private:
    static constexpr mode_t kReadableByAll = 0644;
    int fd_;
};

}  // namespace

Result<uint64_t> FolderFiles::file_size(std::string_view name) {
    struct stat info;
    if (::stat(path(name).c_str(), &info) != 0) return system_error("reading", path(name));
    if (!S_ISREG(info.st_mode)) return invalid("{} is no file", path(name));
    return static_cast<uint64_t>(info.st_size);
}

Result<void> FolderFiles::read_file(std::string_view name, uint64_t offset, std::span<uint8_t> out) {
    const File file(path(name), O_RDONLY);
    if (!file.ok()) return system_error("reading", path(name));
    while (!out.empty()) {
        const ssize_t got = ::pread(file.fd(), out.data(), out.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error("reading", path(name));
        if (got == 0) return invalid("{} ends at byte {}", path(name), offset);
        out = out.subspan(static_cast<size_t>(got));
        offset += static_cast<uint64_t>(got);
    }
    return {};
}

Result<void> FolderFiles::replace_file(std::string_view name, std::span<const ByteSpan> parts) {
    const std::string whole = path(name), fresh = whole + ".new";
    const Result<uint64_t> old = file_size(name);
    if (!old.ok() && old.error().code() != ErrorCode::kNotFound) return old.error();
    if (old.ok() && old.value() != 0) {
        uint8_t first[kKindBytes] = {};
        if (old.value() >= kKindBytes) TRY(read_file(name, 0, first));
        if (memcmp(first, parts[0].data(), kKindBytes) != 0)
            return invalid("{} is something else; choose another name", whole);
    }
    std::optional<Error> failed;
    {
        ::unlink(fresh.c_str());  // what an interrupted write has left, or a link to somewhere
        const File file(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
        if (!file.ok()) return system_error("writing", fresh);
        bool written = true;
        for (const ByteSpan part : parts) written = written && file.write(part);
        if (!written || ::fsync(file.fd()) != 0) failed = system_error("writing", fresh);
    }
    if (!failed && ::rename(fresh.c_str(), whole.c_str()) != 0) failed = system_error("renaming", fresh);
    if (failed) {
        ::unlink(fresh.c_str());
        return *failed;
    }
    // A name is durable when its folder is. Some file systems have no such call, and answer EINVAL.
    const File folder(folder_, O_RDONLY | O_DIRECTORY);
    if (!folder.ok() || (::fsync(folder.fd()) != 0 && errno != EINVAL))
        return system_error("writing", folder_);
    return {};
}

}  // namespace bareflow
