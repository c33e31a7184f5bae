// GRUB's environment block: variables that its load_env and save_env and this kernel share, in a file of 1024 bytes that is
// rewritten in place ("GNU GRUB manual" 16.3, "Environment block"; grub-core/lib/envblk.c is the format's only definition).
//
//     # GRUB Environment Block\n
//     name=value\n           in a value, `\` stands before each newline and each `\`
//     # a comment\n
//     ####…                  to the end: free
#pragma once

#include <string_view>

#include "arch/base/bytes.h"
#include "persist/fixed_file.h"

namespace bareflow {

/// What iso/disk.cfg looks for in the block of BareFlow's disk (iso/README.md "The disk").
namespace grub_variable {
constexpr std::string_view kStage = "stage";    ///< name_of(Stage): what is to be loaded
constexpr std::string_view kNative = "native";  ///< one of the following
constexpr std::string_view kUntried = "untried", kTrying = "trying", kGood = "good", kFailed = "failed";
}  // namespace grub_variable

class GrubEnvironment {
 public:
    static constexpr size_t kBytes = 1024;
    /// Variables that are set stay within the first sector: it is all that changes, and a disk writes it whole or not at all.
    static constexpr size_t kWritableBytes = 512;
    using Value = FixedString<kBytes>;

    /// Without variables.
    GrubEnvironment();
    /// kInvalid: `block` is none, or one that GRUB itself would not read as it stands; says why.
    static Result<GrubEnvironment> parse(ByteSpan block);

    /// kNotFound: no such variable.
    Result<Value> get(std::string_view name) const;
    /// A variable that is there keeps its place, a new one comes last. kInvalid: the name is empty, begins with `#`, or has
    /// `=`, `\` or a control character in it, or the value has a zero byte. kOutOfRange: the variables do not fit into the
    /// first sector. After an error nothing has changed.
    Result<void> set(std::string_view name, std::string_view value);
    /// The variables one after another; `position` begins as 0. False behind the last one.
    bool next(size_t& position, std::string_view& name, Value& value) const;

    /// The block, kBytes of it.
    ByteSpan bytes() const { return {reinterpret_cast<const uint8_t*>(text_), kBytes}; }

 private:
    /// One `name=value`, as positions in text_.
    struct Line {
        size_t begin, equals, end;  // `end` is its newline
    };
    bool next_line(size_t& position, Line& line) const;
    bool find(std::string_view name, Line& line) const;
    Result<void> check_line(size_t begin, size_t end) const;
    std::string_view text(size_t begin, size_t end) const { return {text_ + begin, end - begin}; }

    char text_[kBytes];
    size_t used_;  // bytes before the free ones
};

/// kInvalid: the file is no environment block. kDevice: the disk failed.
Result<GrubEnvironment> read_grub_environment(FixedFile& file);
/// What differs is written, and on the medium when it returns: one sector, if the block was read from `file` before.
Result<void> write_grub_environment(FixedFile& file, const GrubEnvironment& environment);

}  // namespace bareflow
