// The operands of a product in every layout that contestants want, and memory too large for the caches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tests/bench/stopwatch.h"

namespace bareflow::bench {

/// Bytes that the system can still give without swapping (proc(5), MemAvailable).
uint64_t available_bytes();

/// Floats in anonymous huge pages, zero at first.
class Floats {
 public:
    explicit Floats(size_t count);
    Floats(Floats&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr; }
    ~Floats();
    float* get() const { return data_; }
    float& operator[](size_t i) const { return data_[i]; }

 private:
    float* data_;
    size_t bytes_;
};

/// W (n, k), and x (m, k), of small random values; y (m, n). n is a multiple of 16.
struct Product {
    Product(size_t rows, size_t outputs, size_t inputs);
    size_t weights() const { return n * k; }

    size_t m, n, k;
    Floats x, y;
    Floats by_rows;     // (n, k)
    Floats by_columns;  // (k, n): SEED.md's
    Floats panels;      // (n / 16, k, 16): the routines'
    /// Exits if contestant `first` or a later one computes something else than the product: each must be right before it is
    /// timed.
    void require_right(Contest& contest, size_t first) const;
    /// The largest difference of y from a double-precision product, over the largest value.
    double error() const;

 private:
    Floats wanted_;
};

/// Weights that no cache holds: `copies` areas of `floats` each, handed out in turn. What is in them is finite.
class ColdWeights {
 public:
    explicit ColdWeights(size_t floats);
    const float* next();

 private:
    size_t floats_, copies_, turn_ = 0;
};

}  // namespace bareflow::bench
