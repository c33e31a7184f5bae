// GRUB's environment block beside grub-editenv, which is GRUB's own code for it; what is no block; and the disk below.
#include "persist/grub_environment.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <random>

#include "tests/unit/persist/fat_support.h"
#include "tests/unit/persist/memory_file.h"

namespace bareflow {
namespace {

using testing::DiskRecord;
using ::testing::ElementsAre;
using testing::MemoryFile;

constexpr std::string_view kSignature = "# GRUB Environment Block\n";

std::string padded(std::string text, size_t size = GrubEnvironment::kBytes) {
    text.resize(size, '#');
    return text;
}
std::string block_of(const std::string& lines) { return padded(std::string(kSignature) + lines); }
std::string text_of(const GrubEnvironment& environment) {
    return {environment.bytes().begin(), environment.bytes().end()};
}
GrubEnvironment parsed(const std::string& block) {
    Result<GrubEnvironment> result = GrubEnvironment::parse(bytes_of(block));
    if (!result.ok()) throw std::runtime_error(std::string(result.error().message()));
    return result.take();
}
std::string value_of(const GrubEnvironment& environment, std::string_view name) {
    const Result<GrubEnvironment::Value> value = environment.get(name);
    return value.ok() ? std::string(value.value().view()) : "<none>";
}
/// As `grub-editenv list` prints them.
std::string list_of(const GrubEnvironment& environment) {
    std::string list;
    std::string_view name;
    GrubEnvironment::Value value;
    for (size_t position = 0; environment.next(position, name, value);)
        list += std::string(name) + "=" + std::string(value.view()) + "\n";
    return list;
}

/// A file for grub-editenv.
class EnvironmentFile {
 public:
    EnvironmentFile() {
        char name[] = "/tmp/grubenv.XXXXXX";
        close(mkstemp(name));
        path_ = name;
    }
    ~EnvironmentFile() { unlink(path_.c_str()); }
    void write(const std::string& block) { std::ofstream(path_, std::ios::binary) << block; }
    std::string read() {
        std::ifstream file(path_, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    CommandOutcome edit(const std::string& what) { return run_command("grub-editenv " + path_ + " " + what); }
    void set(const std::string& name, const std::string& value) {
        // Nothing in the tests' values is a single quote.
        const CommandOutcome outcome = edit("set '" + name + "=" + value + "'");
        ASSERT_EQ(outcome.status, 0) << outcome.output;
    }

 private:
    std::string path_;
};

TEST(GrubEnvironment, starts_with_no_variables_and_grub_reads_it) {
    const GrubEnvironment empty;
    EXPECT_EQ(text_of(empty), block_of(""));
    EnvironmentFile file;
    file.write(text_of(empty));
    const CommandOutcome listed = file.edit("list");
    EXPECT_EQ(listed.status, 0);
    EXPECT_EQ(listed.output, "");
    EXPECT_FAILS(empty.get("stage"), kNotFound, "stage");
}

TEST(GrubEnvironment, reads_what_grub_has_written) {
    EnvironmentFile file;
    ASSERT_EQ(file.edit("create").status, 0);
    file.set("stage", "native");
    file.set("native", "trying");
    file.set("odd name", "a=b # c \\ \\\\ d\ne");
    file.set("empty", "");
    file.set("stage", "small");
    const GrubEnvironment environment = parsed(file.read());
    EXPECT_EQ(value_of(environment, "stage"), "small");
    EXPECT_EQ(value_of(environment, "native"), "trying");
    EXPECT_EQ(value_of(environment, "odd name"), "a=b # c \\ \\\\ d\ne");
    EXPECT_EQ(value_of(environment, "empty"), "");
    EXPECT_EQ(list_of(environment), file.edit("list").output);
    // A name is not found by its beginning, nor in a value.
    for (const char* name : {"nativ", "odd", "a", "e", ""})
        EXPECT_EQ(value_of(environment, name), "<none>") << name;
}

TEST(GrubEnvironment, any_changes_give_the_bytes_that_grub_gives) {
    std::mt19937 random(5);
    auto pick = [&](size_t count) { return random() % count; };
    const std::string letters = "ab=#\\\n \xC3";
    for (int round = 0; round < 10; ++round) {
        EnvironmentFile file;
        ASSERT_EQ(file.edit("create").status, 0);
        GrubEnvironment environment = parsed(file.read());
        for (int change = 0; change < 8; ++change) {
            const std::string name = std::string(1, "stage"[pick(5)]) + (pick(2) ? "_" : "");
            std::string value;
            for (size_t length = pick(20); length > 0; --length) value += letters[pick(letters.size())];
            file.set(name, value);
            ASSERT_OK(environment.set(name, value));
            ASSERT_EQ(text_of(environment), file.read()) << "set " << name << " to " << value;
            ASSERT_EQ(value_of(environment, name), value);
            ASSERT_EQ(text_of(parsed(text_of(environment))), text_of(environment));
        }
        EXPECT_EQ(list_of(environment), file.edit("list").output);
    }
}

TEST(GrubEnvironment, comments_and_what_stands_around_a_variable_stay) {
    const std::string lines = "# mine, with a \\\nsecond line\na=1\n#b=2\nc=3\n";
    GrubEnvironment environment = parsed(block_of(lines));
    EXPECT_EQ(list_of(environment), "a=1\nc=3\n");
    ASSERT_OK(environment.set("a", "long"));
    EXPECT_EQ(text_of(environment), block_of("# mine, with a \\\nsecond line\na=long\n#b=2\nc=3\n"));
    ASSERT_OK(environment.set("b", "new"));
    EXPECT_EQ(text_of(environment), block_of("# mine, with a \\\nsecond line\na=long\n#b=2\nc=3\nb=new\n"));
    // What only looks free is a comment where a line ends behind it.
    const std::string full = block_of("a=1\n").replace(1023, 1, "\n");
    EXPECT_EQ(list_of(parsed(full)), "a=1\n");
}

TEST(GrubEnvironment, what_is_no_block_is_refused_with_the_reason) {
    struct Case {
        std::string block;
        const char* reason;
    } const cases[] = {
        {"", "has 0 bytes"},
        {padded(std::string(kSignature), 1023), "has 1023 bytes"},
        {padded(std::string(kSignature), 2048), "has 2048 bytes"},
        {std::string(1024, '\0'), "does not begin"},
        {std::string(1024, '#'), "does not begin"},
        {padded("# GRUB Environment Block"), "does not begin"},
        {padded("# GRUB environment block\n"), "does not begin"},
        {block_of("stage=full"), "no end"},
        {block_of("stage=full\\\n"), "no end"},
        {block_of("stage=full\nx\\"), "no end"},
        {block_of("").replace(1000, 1, "x"), "no end"},
        {block_of("stage\n"), "no \"=\""},
        {block_of("a=1\n\nb=2\n"), "no \"=\""},
        {block_of("=full\n"), "no name"},
        {block_of("a\\b=1\n"), "byte 92"},
        {block_of("a\tb=1\n"), "byte 9"},
        {block_of(std::string("a=\0\n", 4)), "zero byte"},
        {block_of("a=1\nb=2\na=1\n"), "\"a\" is set twice"},
    };
    for (const Case& one : cases) {
        const Result<GrubEnvironment> result = GrubEnvironment::parse(bytes_of(one.block));
        ASSERT_FALSE(result.ok()) << one.reason;
        EXPECT_EQ(result.error().code(), ErrorCode::kInvalid);
        EXPECT_THAT(message_of(result), ::testing::HasSubstr(one.reason));
    }
}

TEST(GrubEnvironment, damaged_blocks_are_refused_or_read_as_grub_reads_them) {
    std::mt19937 random(7);
    const std::string letters("a=#\\\n\0\xFF", 7);
    EnvironmentFile file;
    int accepted = 0, refused = 0;
    for (int round = 0; round < 3000; ++round) {
        std::string block = block_of("stage=full\nnative=untried\n# a\nb=c\\\\\\\nd\n");
        for (int change = 0; change < 3; ++change)
            block[kSignature.size() + random() % 60] = letters[random() % letters.size()];
        Result<GrubEnvironment> result = GrubEnvironment::parse(bytes_of(block));
        if (!result.ok()) {
            ++refused;
            continue;
        }
        // Each takes a process.
        if (++accepted > 60) continue;
        file.write(block);
        ASSERT_EQ(list_of(result.value()), file.edit("list").output) << block;
        file.set("stage", "small");
        ASSERT_OK(result.value().set("stage", "small"));
        ASSERT_EQ(text_of(result.value()), file.read()) << block;
    }
    EXPECT_GT(accepted, 150);
    EXPECT_GT(refused, 150);
}

TEST(GrubEnvironment, a_name_or_value_that_the_format_cannot_hold_is_refused) {
    GrubEnvironment environment = parsed(block_of("stage=full\n"));
    const std::string before = text_of(environment);
    for (const char* name : {"", "#a", "a=b", "a\\", "a\nb", "\x7F"})
        EXPECT_FAILS(environment.set(name, "x"), kInvalid, "name");
    EXPECT_FAILS(environment.set("a", std::string_view("x\0y", 3)), kInvalid, "zero byte");
    EXPECT_EQ(text_of(environment), before);
}

TEST(GrubEnvironment, variables_stay_within_the_first_sector) {
    const size_t room = 512 - kSignature.size() - 3;  // `a=` and newline
    GrubEnvironment environment;
    EXPECT_FAILS(environment.set("a", std::string(room + 1, 'x')), kOutOfRange, "grub-editenv");
    EXPECT_FAILS(environment.set("a", std::string(5000, '\n')), kOutOfRange, "grub-editenv");
    EXPECT_FAILS(environment.set("a", std::string(room / 2 + 1, '\\')), kOutOfRange, "grub-editenv");
    EXPECT_EQ(text_of(environment), block_of(""));
    ASSERT_OK(environment.set("a", std::string(room, 'x')));
    EXPECT_EQ(text_of(environment).find('\n', kSignature.size()), 511u);
    EXPECT_FAILS(environment.set("b", ""), kOutOfRange, "\"b\"");
    ASSERT_OK(environment.set("a", "1"));
    EXPECT_EQ(text_of(environment), block_of("a=1\n"));

    // Somebody else has filled more: it is read, and left alone.
    GrubEnvironment full = parsed(block_of("a=" + std::string(900, 'x') + "\nstage=full\n"));
    EXPECT_EQ(value_of(full, "stage"), "full");
    EXPECT_FAILS(full.set("stage", "full"), kOutOfRange, "first 512 bytes");
    EXPECT_FAILS(full.set("a", ""), kOutOfRange, "first 512 bytes");
}

struct BlockFile {
    DiskRecord record;
    MemoryFile file{record, GrubEnvironment::kBytes};

    explicit BlockFile(const std::string& block) {
        std::copy(block.begin(), block.end(), file.bytes.begin());
    }
    std::string text() { return {file.bytes.begin(), file.bytes.end()}; }
    std::vector<uint64_t> offsets_written() {
        std::vector<uint64_t> offsets;
        for (const auto& epoch : record.epochs)
            for (const auto& write : epoch) offsets.push_back(write.offset);
        return offsets;
    }
};

TEST(GrubEnvironmentFile, a_change_writes_one_sector_and_flushes) {
    BlockFile disk(block_of("stage=native\nnative=trying\n"));
    Result<GrubEnvironment> environment = read_grub_environment(disk.file);
    ASSERT_OK(environment);
    ASSERT_OK(environment.value().set(grub_variable::kNative, grub_variable::kGood));
    ASSERT_OK(environment.value().set("boots", "12"));
    ASSERT_OK(write_grub_environment(disk.file, environment.value()));
    EXPECT_EQ(disk.text(), block_of("stage=native\nnative=good\nboots=12\n"));
    EXPECT_THAT(disk.offsets_written(), ElementsAre(0));
    ASSERT_EQ(disk.record.epochs.size(), 2u);  // the flush ends the first
    EXPECT_TRUE(disk.record.epochs.back().empty());

    // The same again is no write.
    ASSERT_OK(write_grub_environment(disk.file, environment.value()));
    EXPECT_THAT(disk.offsets_written(), ElementsAre(0));
}

TEST(GrubEnvironmentFile, a_file_that_was_no_block_is_one_only_when_all_of_it_is_written) {
    BlockFile disk(std::string(1024, 'x'));
    EXPECT_FAILS(read_grub_environment(disk.file), kInvalid, "does not begin");
    ASSERT_OK(write_grub_environment(disk.file, GrubEnvironment()));
    EXPECT_THAT(disk.offsets_written(), ElementsAre(512, 0));
    EXPECT_EQ(disk.text(), block_of(""));
}

TEST(GrubEnvironmentFile, a_file_of_another_size_is_neither_read_nor_written) {
    DiskRecord record;
    MemoryFile large(record, 2048);
    EXPECT_FAILS(read_grub_environment(large), kInvalid, "2048 bytes");
    EXPECT_FAILS(write_grub_environment(large, GrubEnvironment()), kInvalid, "2048 bytes");
    EXPECT_EQ(record.operations, 0);
}

TEST(GrubEnvironmentFile, each_failure_of_the_disk_is_told) {
    const std::string block = block_of("stage=full\n");
    for (int fails_at = 0; fails_at < 4; ++fails_at) {
        BlockFile disk(block);
        disk.record.fails_at = fails_at;  // read; read, write, flush
        Result<GrubEnvironment> environment = read_grub_environment(disk.file);
        ASSERT_EQ(environment.ok(), fails_at > 0);
        if (!environment.ok()) continue;
        ASSERT_OK(environment.value().set("stage", "small"));
        EXPECT_FAILS(write_grub_environment(disk.file, environment.value()), kDevice, "planted");
        EXPECT_EQ(disk.text(), fails_at < 3 ? block : block_of("stage=small\n"));
    }
}

TEST(GrubEnvironmentFile, on_a_fat16_it_is_what_grub_finds_there) {
    MemoryDisk disk(24 * kMiB);
    ASSERT_EQ(make_fat(disk, "-F 16 -s 8").status, 0);
    EnvironmentFile file;
    ASSERT_EQ(file.edit("create").status, 0);
    file.set("stage", "full");
    {
        Mounted volume(disk);
        ASSERT_OK(volume->create("GRUBENV"));
        ASSERT_OK(volume->append("GRUBENV", bytes_of(file.read())));
        Result<FatFixedFile> fixed = volume->open_fixed("GRUBENV");
        ASSERT_OK(fixed);
        Result<GrubEnvironment> environment = read_grub_environment(fixed.value());
        ASSERT_OK(environment);
        EXPECT_EQ(value_of(environment.value(), "stage"), "full");
        ASSERT_OK(environment.value().set("stage", "native"));
        ASSERT_OK(write_grub_environment(fixed.value(), environment.value()));
        ASSERT_OK(volume->unmount());
    }
    file.write(mtools_read(disk, "GRUBENV"));
    EXPECT_EQ(file.edit("list").output, "stage=native\n");
    EXPECT_EQ(fsck_fat(disk), "");
}

}  // namespace
}  // namespace bareflow
