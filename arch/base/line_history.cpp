#include "arch/base/line_history.h"

namespace bareflow {

Result<LineHistory> LineHistory::make(Allocator& allocator) {
    LineHistory history;
    history.text_ = TRY(Buffer<char>::make(allocator, kBytes, "line history"));
    return history;
}

void LineHistory::add(std::string_view line) {
    if (line.empty() || line.size() + 1 > kBytes || (count_ > 0 && this->line(0) == line)) return;
    while (size_ + line.size() + 1 > kBytes) drop_oldest();
    __builtin_memcpy(text_.data() + size_, line.data(), line.size());
    size_ += line.size();
    text_[size_++] = '\n';
    ++count_;
}

std::string_view LineHistory::line(size_t age) const {
    ASSERT(age < count_);
    std::string_view left(text_.data(), size_ - 1);  // without the last newline
    for (; age > 0; --age) left = left.substr(0, left.rfind('\n'));
    return left.substr(left.rfind('\n') + 1);  // npos + 1 is 0: the oldest
}

void LineHistory::drop_oldest() {
    const size_t length = std::string_view(text_.data(), size_).find('\n') + 1;
    size_ -= length;
    --count_;
    __builtin_memmove(text_.data(), text_.data() + length, size_);
}

}  // namespace bareflow
