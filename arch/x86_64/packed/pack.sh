#!/bin/bash
# Packs a kernel into one that unpacks itself (README.md "Packed kernels"):
#
#     arch/x86_64/packed/pack.sh KERNEL.debug.elf -o OUT.elf STUB.o...
#
# KERNEL is as kernel.ld links it; the stub's objects are of 32 bits. From the root of the tree. The same inputs give the same bytes.
set -euo pipefail

here=arch/x86_64/packed
# lzma.h has the same parameters.
xz_filters=(--x86 "--lzma1=preset=9e,lc=3,lp=0,pb=0,nice=273,dict=1MiB")
page=4096

kernel=$1 out=$3
[[ $2 == -o ]]
stub_objects=("${@:4}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
bytes_of() { stat -c %s "$scratch/$1"; }

declare -A symbol
while read -r address _ name; do symbol[$name]=$((16#$address)); done < <(nm --defined-only "$kernel")
define() { # NAME...: as options of as and ld
    local name
    for name; do printf -- '--defsym=%s=%#x\n' "$name" "${symbol[$name]}"; done
}
assemble() { # SOURCE OBJECT [OPTION]...
    "${CXX:-g++}" -c "$here/$1" -o "$scratch/$2" "${@:3}"
}
for_compiler() { sed 's/^/-Wa,/'; }

# ---- the kernel, packed: its header, then text, data and symbols without what lies between
objcopy -O binary -j .text "$kernel" "$scratch/text"
objcopy -O binary -j .native "$kernel" "$scratch/native"
objcopy -O binary -j .rodata -j .got -j .data "$kernel" "$scratch/data"
objcopy -O binary -j .symbols "$kernel" "$scratch/symbols"
symbol[text_bytes]=$(bytes_of text) symbol[data_bytes]=$(bytes_of data) symbol[symbols_bytes]=$(bytes_of symbols)
define start bareflow_loaded_model __image_start text_bytes __rodata_start data_bytes __symbols_start symbols_bytes |
    for_compiler >"$scratch/options"
assemble unpacked_header.S header.o "@$scratch/options"
[[ -z $(nm -u "$scratch/header.o") ]]
objcopy -O binary -j .data "$scratch/header.o" "$scratch/header"
(cd "$scratch" && cat header text data symbols) >"$scratch/kernel"
xz -c --format=raw "${xz_filters[@]}" "$scratch/kernel" >"$scratch/packed"
# gzip ends with the CRC-32 and the size of what it packed (RFC 1952 section 2.3.1).
gzip -1 -n -c "$scratch/kernel" | tail -c 8 | head -c 4 >"$scratch/crc32"

# ---- the stub with it, on the first page behind the kernel
symbol[stub_address]=$(((symbol[__image_end] + page - 1) / page * page))
symbol[unpacked_bytes]=$(bytes_of kernel)
assemble enter.S enter.o -m32
assemble payload.S payload.o -m32 -DUNPACKED_CRC32="\"$scratch/crc32\"" -DPACKED_KERNEL="\"$scratch/packed\""
define stub_address unpacked_bytes >"$scratch/options"
ld -m elf_i386 -nostdlib -static -z noexecstack --gc-sections --no-warn-rwx-segments "@$scratch/options" \
    -T "$here/stub.ld" "$scratch/enter.o" "$scratch/payload.o" "${stub_objects[@]}" -o "$scratch/stub.elf"
objcopy -O binary -j .stub "$scratch/stub.elf" "$scratch/stub"
while read -r address _ name; do symbol[$name]=$((16#$address)); done < <(nm --defined-only "$scratch/stub.elf")

# ---- the file
symbol[headers_bytes]=512 # of the ELF file and for GRUB, as the first page of the kernel's place has them at first
symbol[stub_bytes]=$(bytes_of stub)
define headers_bytes stub_bytes __image_start __native_start __native_end __image_end stub_address stub_start stub_end \
    >"$scratch/options"
for_compiler <"$scratch/options" >"$scratch/assembler_options"
assemble image.S image.o -DKERNEL_TEXT="\"$scratch/text\"" -DKERNEL_NATIVE="\"$scratch/native\"" -DSTUB="\"$scratch/stub\"" \
    -DMULTIBOOT_BYTES=$((symbol[header_end] - symbol[header])) "@$scratch/assembler_options"
ld -m elf_x86_64 -nostdlib -static -z noexecstack -z max-page-size=512 --no-warn-rwx-segments "@$scratch/options" \
    -T "$here/packed.ld" "$scratch/image.o" -o "$scratch/out"
objcopy --strip-all "$scratch/out"
# What loads a kernel reads its program headers only: the table of sections and their names, at the file's end, go.
end=0
while read -r kind offset _ _ bytes _; do
    if [[ $kind == LOAD ]] && ((offset + bytes > end)); then end=$((offset + bytes)); fi
done < <(readelf -lW "$scratch/out")
truncate -s $end "$scratch/out"
zero_bytes() { head -c "$2" /dev/zero | dd of="$scratch/out" bs=1 seek="$1" conv=notrunc status=none; }
zero_bytes $((0x28)) 8 # e_shoff
zero_bytes $((0x3A)) 6 # e_shentsize, e_shnum, e_shstrndx
grub-file --is-x86-multiboot2 "$scratch/out"
mv "$scratch/out" "$out"
