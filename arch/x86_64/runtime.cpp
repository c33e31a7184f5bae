// What compiled code expects of its surroundings where there is no libc: the functions that the compiler itself may
// call (memcpy and its kin), and the error exits of libstdc++'s headers, which can only mean a bug here.
//
// Copies go through 16-byte vectors: rep movsb is quick on silicon, but under TCG it costs a loop turn a byte.
#include <cstddef>
#include <cstdint>

#include "arch/base/panic.h"

namespace {
using Vector [[gnu::vector_size(16), gnu::aligned(1), gnu::may_alias]] = uint8_t;
constexpr size_t kVector = sizeof(Vector);
}  // namespace

extern "C" {

void* memcpy(void* __restrict to, const void* __restrict from, size_t size) {
    auto* d = static_cast<uint8_t*>(to);
    auto* s = static_cast<const uint8_t*>(from);
    for (; size >= kVector; size -= kVector, d += kVector, s += kVector) {
        *reinterpret_cast<Vector*>(d) = *reinterpret_cast<const Vector*>(s);
    }
    for (; size > 0; --size) *d++ = *s++;
    return to;
}

void* memmove(void* to, const void* from, size_t size) {
    auto* d = static_cast<uint8_t*>(to);
    auto* s = static_cast<const uint8_t*>(from);
    if (reinterpret_cast<uintptr_t>(d) - reinterpret_cast<uintptr_t>(s) >= size)
        return memcpy(to, from, size);
    while (size >= kVector) {
        size -= kVector;
        *reinterpret_cast<Vector*>(d + size) = *reinterpret_cast<const Vector*>(s + size);
    }
    while (size > 0) {
        --size;
        d[size] = s[size];
    }
    return to;
}

void* memset(void* to, int value, size_t size) {
    auto* d = static_cast<uint8_t*>(to);
    const auto byte = static_cast<uint8_t>(value);
    Vector filled;
    for (size_t i = 0; i < kVector; ++i) filled[i] = byte;
    for (; size >= kVector; size -= kVector, d += kVector) *reinterpret_cast<Vector*>(d) = filled;
    for (; size > 0; --size) *d++ = byte;
    return to;
}

int memcmp(const void* a, const void* b, size_t size) {
    auto* x = static_cast<const uint8_t*>(a);
    auto* y = static_cast<const uint8_t*>(b);
    for (; size > 0; --size, ++x, ++y) {
        if (*x != *y) return *x - *y;
    }
    return 0;
}

const void* memchr(const void* memory, int value, size_t size) {
    auto* p = static_cast<const uint8_t*>(memory);
    for (; size > 0; --size, ++p) {
        if (*p == static_cast<uint8_t>(value)) return p;
    }
    return nullptr;
}

size_t strlen(const char* text) {
    size_t size = 0;
    while (text[size] != 0) ++size;
    return size;
}

}  // extern "C"

namespace std {
[[noreturn]] void __throw_out_of_range_fmt(const char* format, ...) { PANIC(format); }
[[noreturn]] void __throw_length_error(const char* what) { PANIC(what); }
[[noreturn]] void __glibcxx_assert_fail(const char* file, int line, const char*,
                                        const char* condition) noexcept {
    ::bareflow::panic(condition, file, line);
}
}  // namespace std

extern "C" [[noreturn]] void __cxa_pure_virtual() { PANIC("pure virtual function called"); }

/// The vtable of a class with a virtual destructor names it, but nothing here is made by `new` of this kind.
void operator delete(void*) noexcept { PANIC("operator delete called"); }
void operator delete(void*, size_t) noexcept { PANIC("operator delete called"); }
