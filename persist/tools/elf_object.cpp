#include "persist/tools/elf_object.h"

#include <elf.h>

#include <set>

namespace bareflow {
namespace {

constexpr uint8_t kInt3 = 0xCC;  ///< between functions: nobody should come there

enum Section : uint16_t { kNone, kText, kNoteStack, kSymbols, kStrings, kSectionNames, kSections };

/// Null-terminated strings behind one another; an offset names one (gABI "String Table").
class StringTable {
 public:
    uint32_t add(const std::string& text) {
        const auto offset = static_cast<uint32_t>(bytes_.size());
        bytes_.append(text).push_back('\0');
        return offset;
    }
    const std::string& bytes() const { return bytes_; }

 private:
    std::string bytes_ = std::string(1, '\0');
};

class ObjectWriter {
 public:
    Result<std::vector<uint8_t>> write(std::span<const ObjectFunction> functions);

 private:
    Result<void> add(const ObjectFunction& function);
    void add_symbol(std::vector<Elf64_Sym>& to, const std::string& name, unsigned binding, unsigned type,
                    uint64_t value, uint64_t size) {
        to.push_back({.st_name = strings_.add(name),
                      .st_info = static_cast<unsigned char>(ELF64_ST_INFO(binding, type)),
                      .st_other = STV_DEFAULT,
                      .st_shndx = kText,
                      .st_value = value,
                      .st_size = size});
    }
    struct Shape {
        uint32_t type;
        uint64_t flags = 0, alignment = 1, entry_size = 0;
        uint32_t link = 0, info = 0;
    };
    /// Appends a section's bytes to the file.
    void place(Section index, const std::string& name, const Shape& shape, const void* bytes, size_t size);

    std::vector<uint8_t> text_;
    std::vector<Elf64_Sym> locals_{1}, globals_;  // the first symbol is the null symbol
    StringTable strings_, section_names_;
    std::set<std::string> names_;
    Elf64_Shdr sections_[kSections] = {};
    std::vector<uint8_t> file_;
};

template <typename T>
void append(std::vector<uint8_t>& out, const T* items, size_t count) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(items);
    out.insert(out.end(), bytes, bytes + count * sizeof(T));
}

Result<void> ObjectWriter::add(const ObjectFunction& function) {
    if (!names_.insert(function.name).second)
        return invalid("{} is there twice; an object file holds one symbol of a name", function.name);
    while (text_.size() % kFunctionAlignment != 0) text_.push_back(kInt3);
    const uint64_t start = text_.size(), size = function.code.size();
    append(text_, function.code.data(), size);
    add_symbol(globals_, function.name, STB_GLOBAL, STT_FUNC, start, size);
    for (size_t i = 0; i < function.data.size(); ++i) {
        const ObjectFunction::Data& data = function.data[i];
        if (data.offset > size || data.size > size - data.offset)
            return invalid("{}: {} bytes of data at {} lie outside of its {} bytes", function.name, data.size,
                           data.offset, size);
        const std::string number = i == 0 ? "" : "_" + std::to_string(i + 1);
        add_symbol(locals_, function.name + "_constants" + number, STB_LOCAL, STT_OBJECT, start + data.offset,
                   data.size);
    }
    return {};
}

void ObjectWriter::place(Section index, const std::string& name, const Shape& shape, const void* bytes,
                         size_t size) {
    while (file_.size() % shape.alignment != 0) file_.push_back(0);
    Elf64_Shdr& header = sections_[index];
    header.sh_name = section_names_.add(name);
    header.sh_type = shape.type;
    header.sh_flags = shape.flags;
    header.sh_offset = file_.size();
    header.sh_size = size;
    header.sh_link = shape.link;
    header.sh_info = shape.info;
    header.sh_addralign = shape.alignment;
    header.sh_entsize = shape.entry_size;
    append(file_, static_cast<const uint8_t*>(bytes), size);
}

Result<std::vector<uint8_t>> ObjectWriter::write(std::span<const ObjectFunction> functions) {
    for (const ObjectFunction& function : functions) TRY(add(function));
    std::vector<Elf64_Sym> symbols = locals_;
    symbols.insert(symbols.end(), globals_.begin(), globals_.end());

    file_.resize(sizeof(Elf64_Ehdr));
    place(kText, ".text",
          {.type = SHT_PROGBITS, .flags = SHF_ALLOC | SHF_EXECINSTR, .alignment = kFunctionAlignment},
          text_.data(), text_.size());
    place(kNoteStack, ".note.GNU-stack", {.type = SHT_PROGBITS}, nullptr, 0);
    // info of a symbol table: the first symbol that is not local (gABI figure 4-14).
    place(kSymbols, ".symtab",
          {.type = SHT_SYMTAB,
           .alignment = alignof(Elf64_Sym),
           .entry_size = sizeof(Elf64_Sym),
           .link = kStrings,
           .info = static_cast<uint32_t>(locals_.size())},
          symbols.data(), symbols.size() * sizeof(Elf64_Sym));
    place(kStrings, ".strtab", {.type = SHT_STRTAB}, strings_.bytes().data(), strings_.bytes().size());
    // The table of section names holds its own name, so that is added before its bytes are taken.
    const uint32_t own_name = section_names_.add(".shstrtab");
    const std::string names = section_names_.bytes();
    place(kSectionNames, "", {.type = SHT_STRTAB}, names.data(), names.size());
    sections_[kSectionNames].sh_name = own_name;

    while (file_.size() % alignof(Elf64_Shdr) != 0) file_.push_back(0);
    Elf64_Ehdr header = {};
    __builtin_memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_REL;
    header.e_machine = EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_shoff = file_.size();
    header.e_ehsize = sizeof(Elf64_Ehdr);
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = kSections;
    header.e_shstrndx = kSectionNames;
    append(file_, sections_, kSections);
    __builtin_memcpy(file_.data(), &header, sizeof header);
    return std::move(file_);
}

}  // namespace

Result<std::vector<uint8_t>> elf_object(std::span<const ObjectFunction> functions) {
    return ObjectWriter().write(functions);
}

}  // namespace bareflow
