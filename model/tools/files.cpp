#include "model/tools/files.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "arch/base/char_width.h"
#include "arch/base/crc32c.h"
#include "arch/base/text.h"

namespace bareflow {
namespace {

/// Between the name of a file that is being written and the number of the process that writes it.
constexpr std::string_view kPartial = ".partial-";

Error system_error(const std::string& name, std::string_view what, int number) {
    const ErrorCode code = number == ENOENT ? ErrorCode::kNotFound : ErrorCode::kDevice;
    return Error::make(code, "{}: {}: {}", std::string_view(name), what, std::strerror(number));
}

/// The size of the regular file behind `fd`.
Result<uint64_t> regular_size(int fd, const std::string& name) {
    struct stat status;
    if (fstat(fd, &status) != 0) return system_error(name, "cannot be looked at", errno);
    if (!S_ISREG(status.st_mode))
        return invalid("{}: is not a regular file; name a file", std::string_view(name));
    return static_cast<uint64_t>(status.st_size);
}

}  // namespace

std::string base_name(const std::string& path) {
    const size_t end = path.find_last_not_of('/');
    if (end == std::string::npos) return path;
    const size_t slash = path.find_last_of('/', end);
    const size_t begin = slash == std::string::npos ? 0 : slash + 1;
    return path.substr(begin, end + 1 - begin);
}

std::string printable(std::string_view text) {
    std::string fit;
    while (!text.empty()) {
        const int length = utf8_length(text);
        const std::string_view character = text.substr(0, length > 0 ? static_cast<size_t>(length) : 1);
        fit += length <= 0 || is_control(code_point_of(character)) ? "?" : character;
        text.remove_prefix(character.size());
    }
    return fit;
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
}
Descriptor::~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
}
int Descriptor::release() { return std::exchange(fd_, -1); }

Result<InputFile> InputFile::open(const std::string& path) {
    std::string name = base_name(path);
    Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO would wait for a writer
    if (fd.get() < 0) return system_error(path, "cannot be opened", errno);
    const uint64_t size = TRY(regular_size(fd.get(), path));
    return InputFile(std::move(fd), std::move(name), size);
}

Result<void> InputFile::read_at(uint64_t offset, std::span<uint8_t> out) const {
    if (!fits(offset, out.size(), size_)) {
        return invalid("{}: {} bytes at {} are not within its {}; the file is cut short",
                       std::string_view(name_), out.size(), offset, size_);
    }
    while (!out.empty()) {
        const ssize_t count = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return system_error(name_, "cannot be read", errno);
        if (count == 0) return invalid("{}: became shorter while it was read", std::string_view(name_));
        out = out.subspan(static_cast<size_t>(count));
        offset += static_cast<uint64_t>(count);
    }
    return {};
}

Result<uint32_t> InputFile::checksum() const {
    constexpr size_t kChunk = size_t{1} << 20;
    std::vector<uint8_t> chunk(kChunk);
    uint32_t crc = 0;
    for (uint64_t offset = 0; offset < size_; offset += kChunk) {
        const auto part = std::span(chunk).first(std::min<uint64_t>(kChunk, size_ - offset));
        TRY(read_at(offset, part));
        crc = crc32c(part, crc);
    }
    return crc;
}

Result<MappedFile> MappedFile::open(const std::string& path) {
    Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.get() < 0) return system_error(path, "cannot be opened", errno);
    return map(fd.get(), path);
}

Result<MappedFile> MappedFile::map(int fd, const std::string& name) {
    const uint64_t size = TRY(regular_size(fd, name));
    if (size == 0) return invalid("{}: is empty", std::string_view(name));
    void* memory = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) return system_error(name, "cannot be mapped", errno);
    return MappedFile({static_cast<const uint8_t*>(memory), size});
}

MappedFile::~MappedFile() {
    if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

Result<void> FileWriter::reset(uint64_t size) {
    if (::ftruncate(fd_, 0) != 0 || ::ftruncate(fd_, static_cast<off_t>(size)) != 0) {
        return system_error(name_, "cannot be given its size", errno);
    }
    return {};
}

Result<void> FileWriter::write_at(uint64_t offset, ByteSpan bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return system_error(name_, "cannot be written", errno);
        bytes = bytes.subspan(static_cast<size_t>(count));
        offset += static_cast<uint64_t>(count);
    }
    return {};
}

void remove_abandoned(const std::string& folder) {
    std::error_code ignored;
    for (std::filesystem::directory_iterator entry(folder, ignored), end; entry != end;
         entry.increment(ignored)) {
        const std::string name = entry->path().filename();
        const size_t at = name.rfind(kPartial);
        if (at == std::string::npos) continue;
        const std::optional<uint64_t> process =
            parse_unsigned(std::string_view(name).substr(at + kPartial.size()));
        if (process && *process != 0 && ::kill(static_cast<pid_t>(*process), 0) != 0 && errno == ESRCH)
            std::filesystem::remove(entry->path(), ignored);
    }
}

Result<ReplacementFile> ReplacementFile::create(const std::string& target) {
    struct stat status;
    if (::stat(target.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
        return invalid("{}: is there and is not a regular file; name another output",
                       std::string_view(target));
    }
    std::string temporary = target + std::string(kPartial) + std::to_string(::getpid());
    constexpr mode_t kMode = 0666;  // less the umask
    Descriptor fd(::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, kMode));
    if (fd.get() < 0) return system_error(target, "cannot be created", errno);
    return ReplacementFile(std::move(fd), target, std::move(temporary));
}

ReplacementFile::ReplacementFile(ReplacementFile&& other) noexcept
    : fd_(std::move(other.fd_)),
      target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, std::string())) {}

ReplacementFile::~ReplacementFile() {
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<void> ReplacementFile::commit() {
    if (::fsync(fd_.get()) != 0) return system_error(temporary_, "cannot be written out", errno);
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
        return system_error(target_, "cannot be put in place", errno);
    }
    temporary_.clear();
    return {};
}

}  // namespace bareflow
