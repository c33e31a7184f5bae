// Loaded before the host program (LD_PRELOAD): stands between it and its disk image, as blkdebug and blklogwrites stand
// between QEMU and its.
//
//   FAULTY_DISK=FILE     the image; what is done to other files is left alone
//   FAULTY_RULE=OP:N:HOW:ERRNO
//                        the N-th (from 1) read, write or flush of it goes wrong; HOW: `once`; `on`, and all behind it;
//                        `lie`, which does nothing and says that it worked
//   FAULTY_LOG=FILE      its writes and flushes, as the kernel's dm-log-writes and QEMU's blklogwrites keep them
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr size_t kSector = 512;
constexpr uint64_t kMagic = 0x6a736677736872, kVersion = 1, kFlushFlag = 1;

struct Super {
    uint64_t magic, version, entries;
    uint32_t sector_bytes;
    uint8_t reserved[kSector - 28];
};
struct Entry {
    uint64_t sector, sectors, flags, bytes;
    uint8_t reserved[kSector - 32];
};
static_assert(sizeof(Super) == kSector && sizeof(Entry) == kSector);

template <typename F>
F* real(const char* name) {
    return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}
auto* const real_pread = real<ssize_t(int, void*, size_t, off_t)>("pread");
auto* const real_pwrite = real<ssize_t(int, const void*, size_t, off_t)>("pwrite");
auto* const real_fdatasync = real<int(int)>("fdatasync");

bool is_disk(int fd) {
    static const char* const path = getenv("FAULTY_DISK");
    struct stat disk, file;
    return path != nullptr && stat(path, &disk) == 0 && fstat(fd, &file) == 0 && disk.st_dev == file.st_dev &&
           disk.st_ino == file.st_ino;
}

enum class Fate { kWork, kFail, kLie };

/// Counts, and sets errno for kFail.
Fate fate_of(const char* operation) {
    static const char* const rule = getenv("FAULTY_RULE");
    char wanted[16], how[16];
    int number, error;
    if (rule == nullptr || sscanf(rule, "%15[^:]:%d:%15[^:]:%d", wanted, &number, how, &error) != 4 ||
        strcmp(wanted, operation) != 0)
        return Fate::kWork;
    static int count = 0;
    ++count;
    const bool goes_on = strcmp(how, "on") == 0;
    if (goes_on ? count < number : count != number) return Fate::kWork;
    if (strcmp(how, "lie") == 0) return Fate::kLie;
    errno = error;
    return Fate::kFail;
}

void log_entry(uint64_t sector, const void* data, size_t bytes, uint64_t flags) {
    static const char* const path = getenv("FAULTY_LOG");
    if (path == nullptr) return;
    static const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    static Super super = {kMagic, kVersion, 0, kSector, {}};
    static off_t end = kSector;
    const Entry entry = {sector, bytes / kSector, flags, bytes, {}};
    if (real_pwrite(fd, &entry, kSector, end) < 0 || real_pwrite(fd, data, bytes, end + kSector) < 0) abort();
    end += static_cast<off_t>(kSector + bytes);
    ++super.entries;
    if (real_pwrite(fd, &super, kSector, 0) < 0) abort();
}

}  // namespace

extern "C" {

ssize_t pread(int fd, void* to, size_t bytes, off_t offset) {
    if (is_disk(fd) && fate_of("read") == Fate::kFail) return -1;
    return real_pread(fd, to, bytes, offset);
}

ssize_t pwrite(int fd, const void* from, size_t bytes, off_t offset) {
    if (!is_disk(fd)) return real_pwrite(fd, from, bytes, offset);
    switch (fate_of("write")) {
        case Fate::kFail:
            return -1;
        case Fate::kLie:
            return static_cast<ssize_t>(bytes);
        case Fate::kWork:
            break;
    }
    log_entry(static_cast<uint64_t>(offset) / kSector, from, bytes, 0);
    return real_pwrite(fd, from, bytes, offset);
}

int fdatasync(int fd) {
    if (!is_disk(fd)) return real_fdatasync(fd);
    if (fate_of("flush") == Fate::kFail) return -1;
    log_entry(0, "", 0, kFlushFlag);
    return real_fdatasync(fd);
}

}  // extern "C"
