#include "tests/bench/matrices.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "tests/bench/emitted.h"

namespace bareflow::bench {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPanel = 16;

float small_value(size_t i) { return static_cast<float>((i * 2654435761u >> 20) & 1023) * 1e-3f - 0.5f; }

}  // namespace

uint64_t available_bytes() {
    std::ifstream file("/proc/meminfo");
    std::string word;
    while (file >> word) {
        uint64_t kib = 0;
        if (word == "MemAvailable:" && file >> kib) return kib << 10;
    }
    return 0;
}

Floats::Floats(size_t count) : bytes_((count * sizeof(float) + 2 * kHugePage - 1) / kHugePage * kHugePage) {
    void* pages = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) give_up("no memory for " + std::to_string(bytes_ >> 20) + " MiB of operands");
    madvise(pages, bytes_, MADV_HUGEPAGE);
    data_ = static_cast<float*>(pages);
}
Floats::~Floats() {
    if (data_ != nullptr) munmap(data_, bytes_);
}

Product::Product(size_t rows, size_t outputs, size_t inputs)
    : m(rows),
      n(outputs),
      k(inputs),
      x(m * k),
      y(m * n),
      by_rows(n * k),
      by_columns(n * k),
      panels(n * k),
      wanted_(m * n) {
    for (size_t i = 0; i < m * k; ++i) x[i] = small_value(i * 7 + 3);
    for (size_t row = 0; row < n; ++row) {
        for (size_t column = 0; column < k; ++column) {
            const float value = small_value(row * k + column);
            by_rows[row * k + column] = by_columns[column * n + row] = value;
            panels[(row / kPanel * k + column) * kPanel + row % kPanel] = value;
        }
    }
    for (size_t i = 0; i < m; ++i) {
        for (size_t row = 0; row < n; ++row) {
            double sum = 0;
            for (size_t column = 0; column < k; ++column)
                sum += double{x[i * k + column]} * by_rows[row * k + column];
            wanted_[i * n + row] = static_cast<float>(sum);
        }
    }
}

void Product::require_right(Contest& contest, size_t first) const {
    constexpr double kTolerance = 1e-4;
    for (size_t i = first; i < contest.size(); ++i) {
        std::fill(y.get(), y.get() + m * n, 0.0f);
        contest.call(i);
        if (!(error() < kTolerance)) give_up(contest.name(i) + " computes something else");
    }
}

double Product::error() const {
    double largest = 0, difference = 0;
    for (size_t i = 0; i < m * n; ++i) {
        largest = std::max(largest, std::fabs(double{wanted_[i]}));
        difference = std::max(difference, std::fabs(double{y[i]} - wanted_[i]));
    }
    return difference / largest;
}

namespace {
constexpr size_t kColdFloats = (size_t{512} << 20) / sizeof(float);
const float* cold_floats() {
    static const Floats* const floats = [] {
        auto* made = new Floats(kColdFloats);
        for (size_t i = 0; i < kColdFloats; ++i) (*made)[i] = small_value(i);
        return made;
    }();
    return floats->get();
}
}  // namespace

ColdWeights::ColdWeights(size_t floats)
    : floats_(floats), copies_(std::max<size_t>(1, kColdFloats / floats)) {
    cold_floats();
}
const float* ColdWeights::next() { return cold_floats() + turn_++ % copies_ * floats_; }

}  // namespace bareflow::bench
