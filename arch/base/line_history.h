// The lines entered so far, newest last, in a block of memory of fixed size: the oldest make room for new ones.
#pragma once

#include <string_view>

#include "arch/base/allocator.h"
#include "arch/base/result.h"

namespace bareflow {

class LineHistory {
 public:
    static constexpr size_t kBytes = 16384;

    static Result<LineHistory> make(Allocator& allocator);

    /// Remembers `line` (no newline in it) unless it is empty, the newest already, or larger than the history.
    void add(std::string_view line);
    size_t count() const { return count_; }
    /// The line entered `age` lines ago, 0 being the newest; `age` < count(). Valid until the next add().
    std::string_view line(size_t age) const;

 private:
    void drop_oldest();

    Buffer<char> text_;  ///< each line followed by '\n', oldest first
    size_t size_ = 0;
    size_t count_ = 0;
};

}  // namespace bareflow
