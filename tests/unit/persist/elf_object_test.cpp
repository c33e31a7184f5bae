// Object files, read back by the structures of <elf.h>.
#include "persist/tools/elf_object.h"

#include <elf.h>
#include <gmock/gmock.h>

#include <cstring>

namespace bareflow {
namespace {

using ::testing::HasSubstr;

template <typename T>
T at(const std::vector<uint8_t>& file, uint64_t offset) {
    T value;
    EXPECT_LE(offset + sizeof value, file.size());
    std::memcpy(&value, file.data() + offset, sizeof value);
    return value;
}

struct Object {
    explicit Object(std::vector<uint8_t> bytes) : file(std::move(bytes)), header(at<Elf64_Ehdr>(file, 0)) {
        for (unsigned i = 0; i < header.e_shnum; ++i)
            sections.push_back(at<Elf64_Shdr>(file, header.e_shoff + i * sizeof(Elf64_Shdr)));
    }
    std::string text(const Elf64_Shdr& table, uint32_t offset) const {
        EXPECT_LT(offset, table.sh_size);
        return reinterpret_cast<const char*>(file.data() + table.sh_offset + offset);
    }
    const Elf64_Shdr& section(const std::string& name) const {
        for (const Elf64_Shdr& each : sections) {
            if (text(sections[header.e_shstrndx], each.sh_name) == name) return each;
        }
        ADD_FAILURE() << "no section " << name;
        return sections[0];
    }
    struct Symbol {
        std::string name;
        Elf64_Sym is;
    };
    std::vector<Symbol> symbols() const {
        const Elf64_Shdr& table = section(".symtab");
        std::vector<Symbol> found;
        for (uint64_t i = 0; i < table.sh_size / sizeof(Elf64_Sym); ++i) {
            const auto symbol = at<Elf64_Sym>(file, table.sh_offset + i * sizeof(Elf64_Sym));
            found.push_back({text(sections[table.sh_link], symbol.st_name), symbol});
        }
        return found;
    }
    std::vector<uint8_t> file;
    Elf64_Ehdr header;
    std::vector<Elf64_Shdr> sections;
};

const uint8_t kCode[100] = {0x90, 0xC3};

Object object_of(std::vector<ObjectFunction> functions) { return Object(elf_object(functions).take()); }

TEST(ElfObject, IsARelocatableForX86_64) {
    const Object object = object_of({{"one", kCode, {}}});
    EXPECT_EQ(std::memcmp(object.header.e_ident, ELFMAG, SELFMAG), 0);
    EXPECT_EQ(object.header.e_ident[EI_CLASS], ELFCLASS64);
    EXPECT_EQ(object.header.e_ident[EI_DATA], ELFDATA2LSB);
    EXPECT_EQ(object.header.e_ident[EI_VERSION], EV_CURRENT);
    EXPECT_EQ(object.header.e_type, ET_REL);
    EXPECT_EQ(object.header.e_machine, EM_X86_64);
    EXPECT_EQ(object.header.e_ehsize, sizeof(Elf64_Ehdr));
    EXPECT_EQ(object.header.e_shentsize, sizeof(Elf64_Shdr));
    EXPECT_EQ(object.header.e_shoff % alignof(Elf64_Shdr), 0u);
    const Elf64_Shdr& text = object.section(".text");
    EXPECT_EQ(text.sh_type, SHT_PROGBITS);
    EXPECT_EQ(text.sh_flags, static_cast<uint64_t>(SHF_ALLOC | SHF_EXECINSTR));
    EXPECT_EQ(text.sh_addralign, 64u);
    EXPECT_EQ(text.sh_offset % 64, 0u);
    EXPECT_EQ(object.section(".note.GNU-stack").sh_flags, 0u) << "the stack must not become executable";
}

TEST(ElfObject, GivesEachFunctionItsSymbolSizeAndBytes) {
    std::vector<uint8_t> second(65, 0x42);
    const Object object = object_of({{"one", kCode, {}}, {"two", second, {}}, {"three", kCode, {}}});
    const Elf64_Shdr& text = object.section(".text");
    uint64_t wanted_place = 0;
    unsigned found = 0;
    for (const Object::Symbol& symbol : object.symbols()) {
        if (symbol.name.empty()) continue;
        ++found;
        const bool is_second = symbol.name == "two";
        EXPECT_EQ(ELF64_ST_BIND(symbol.is.st_info), STB_GLOBAL);
        EXPECT_EQ(ELF64_ST_TYPE(symbol.is.st_info), STT_FUNC);
        EXPECT_EQ(&object.sections[symbol.is.st_shndx], &text);
        EXPECT_EQ(symbol.is.st_size, is_second ? second.size() : sizeof kCode);
        EXPECT_EQ(symbol.is.st_value, wanted_place) << symbol.name;
        const uint8_t* bytes = object.file.data() + text.sh_offset + symbol.is.st_value;
        EXPECT_EQ(std::memcmp(bytes, is_second ? second.data() : kCode, symbol.is.st_size), 0);
        wanted_place += 128;  // 100 and 65 bytes, each up to the next multiple of 64
    }
    EXPECT_EQ(found, 3u);
    EXPECT_EQ(object.file[text.sh_offset + sizeof kCode], 0xCC) << "int3 between functions";
}

TEST(ElfObject, MarksConstantsAsLocalObjectsBeforeTheGlobalSymbols) {
    const Object object =
        object_of({{"one", kCode, {{40, 8}, {60, 40}}}, {"two", kCode, {}}, {"three", kCode, {{96, 4}}}});
    const auto symbols = object.symbols();
    const Elf64_Shdr& table = object.section(".symtab");
    for (size_t i = 0; i < symbols.size(); ++i) {
        const bool is_local = ELF64_ST_BIND(symbols[i].is.st_info) == STB_LOCAL;
        EXPECT_EQ(is_local, i < table.sh_info) << symbols[i].name;
        if (!is_local || i == 0) continue;
        EXPECT_EQ(ELF64_ST_TYPE(symbols[i].is.st_info), STT_OBJECT);
    }
    ASSERT_EQ(symbols.size(), 7u);
    EXPECT_EQ(symbols[1].name, "one_constants");
    EXPECT_EQ(symbols[1].is.st_value, 40u);
    EXPECT_EQ(symbols[1].is.st_size, 8u);
    EXPECT_EQ(symbols[2].name, "one_constants_2");
    EXPECT_EQ(symbols[3].name, "three_constants");
    EXPECT_EQ(symbols[3].is.st_value, 256u + 96u);
}

TEST(ElfObject, RefusesTwoOfANameAndDataOutsideOfItsFunction) {
    const std::vector<ObjectFunction> twice = {{"one", kCode, {}}, {"one", kCode, {}}};
    Result<std::vector<uint8_t>> refused = elf_object(twice);
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(std::string(refused.error().message()), HasSubstr("one is there twice"));
    for (const ObjectFunction::Data data : {ObjectFunction::Data{97, 4}, {101, 0}, {4, SIZE_MAX}}) {
        const std::vector<ObjectFunction> outside = {{"one", kCode, {data}}};
        EXPECT_FALSE(elf_object(outside).ok()) << data.offset;
    }
}

}  // namespace
}  // namespace bareflow
