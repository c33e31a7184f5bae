#include "persist/tools/packed_model.h"

#include <elf.h>

#include <algorithm>

#include "arch/x86_64/packed/unpack.h"

namespace bareflow {
namespace {

constexpr uint64_t kPage = 4096;

Error no_packed_kernel(std::string_view what) {
    return invalid("a model goes into a packed kernel only, as bareflow-native.elf is: {}", what);
}

}  // namespace

Result<std::vector<uint8_t>> with_model(ByteSpan elf, ByteSpan model) {
    if (model.size() > kMostPackedModelBytes) {
        return invalid(
            "the model has {} MiB, and an ELF file takes {}: choose a smaller type, or make an .img",
            model.size() >> 20, kMostPackedModelBytes >> 20);
    }
    Elf64_Ehdr header;
    if (elf.size() < sizeof header) return no_packed_kernel("it is cut short");
    __builtin_memcpy(&header, elf.data(), sizeof header);
    const uint64_t table = uint64_t{header.e_phnum} * sizeof(Elf64_Phdr);
    if (!std::equal(ELFMAG, ELFMAG + SELFMAG, header.e_ident) || header.e_phentsize != sizeof(Elf64_Phdr) ||
        !fits(header.e_phoff, table, elf.size()))
        return no_packed_kernel("it is no ELF file of 64 bits");

    std::vector<uint8_t> image(elf.begin(), elf.end());
    PackedHeader packed{};
    for (uint64_t at = header.e_phoff; at < header.e_phoff + table; at += sizeof(Elf64_Phdr)) {
        Elf64_Phdr segment;
        __builtin_memcpy(&segment, image.data() + at, sizeof segment);
        if (segment.p_type == PT_LOAD && fits(segment.p_offset, sizeof packed, elf.size()) &&
            std::equal(std::begin(kPackedMagic), std::end(kPackedMagic), elf.data() + segment.p_offset)) {
            __builtin_memcpy(&packed, elf.data() + segment.p_offset, sizeof packed);
            if (packed.model_bytes != 0) return no_packed_kernel("it has a model already");
            packed.model_bytes = static_cast<uint32_t>(model.size());
            __builtin_memcpy(image.data() + segment.p_offset, &packed, sizeof packed);
        } else if (segment.p_type == PT_NULL && packed.model_bytes != 0) {
            const uint64_t offset = (image.size() + kPage - 1) / kPage * kPage;
            segment = {.p_type = PT_LOAD,
                       .p_flags = PF_R,
                       .p_offset = offset,
                       .p_vaddr = packed.model_address,
                       .p_paddr = packed.model_address,
                       .p_filesz = model.size(),
                       .p_memsz = model.size(),
                       .p_align = kPage};
            __builtin_memcpy(image.data() + at, &segment, sizeof segment);
            image.resize(offset);
            image.insert(image.end(), model.begin(), model.end());
            return image;
        }
    }
    return no_packed_kernel("there is no place for one in it");
}

}  // namespace bareflow
