#!/bin/bash
# Builds a disk image that boots by itself, by BIOS and by UEFI, from a USB stick, a hard disk or a cloud VM's disk:
#
#     iso/make-disk.sh KERNEL -o OUT.img [--small ELF] [--native ELF] [--stage full|small|native]
#                      [--model FILE.wllm] [--usb] [--config bareflow.cfg] [--size MiB]
#
# On its one partition, a FAT16: the kernels, GRUB and its environment block, the model, and room for what BareFlow learns.
# The stage is what the first boot loads (default: full); the size follows from the contents. README.md has the layout.
# Without KERNEL: `--stage native --native ELF` makes a disk of that kernel alone, for a machine that has nothing left to learn.
# --usb: GRUB loads the model, since the kernel has no driver for USB sticks; slower, and below 1.9 GB.
# Without root and without loop devices. The same inputs give the same bytes.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=iso/grub_parts.sh
source "$here/grub_parts.sh"
PATH=$PATH:/usr/sbin:/sbin # where Debian has mkfs.fat

# Module names as in $grub/*/moddep.lst. The BIOS core carries what finds the rest, as in make-iso.sh.
bios_core=(biosdisk part_msdos fat)
modules=(normal test keystatus multiboot2 loadenv search)
efi_modules=(part_msdos fat "${modules[@]}" "${efi_video[@]}")

sector_bytes=512
mib_sectors=2048
# The partition begins where every tool puts it; the BIOS core lies before it.
partition_sector=$mib_sectors
# FAT16: clusters of these many sectors, the smallest that reach the size. 4 KiB at least: pieces of a file that lie in
# different 4 KiB are then in different sectors of any disk. 64 KiB are beyond FAT's specification, and widely understood.
smallest_cluster=8
largest_cluster=128
most_clusters=65500 # of 65524: mkfs.fat rounds
smallest_mib=20     # 4085 clusters of 4 KiB, and the tables
largest_mib=4095
portable_mib=2047 # beyond it, clusters have 64 KiB
default_least_mib=32
spare_mib=16
snapshot_bytes=$((2 << 20))
environment_bytes=1024 # what GRUB expects
label=BAREFLOW
volume_id=42464c57   # "BFLW"
disk_id='\x57\x4c\x46\x42'
wllm_magic=4c4c4d57 # the first bytes of a .wllm file: "WLLM" as a little-endian number

bytes_of() { stat -L -c %s "$1"; }

# How many MiB the image gets: the contents with their clusters' unused ends, a quarter more, and some.
choose_size() {
    local file contents=0 wanted
    for file in "$scratch"/boot/*.elf ${model:+"$model"} ${config:+"$config"}; do
        contents=$((contents + $(bytes_of "$file") + largest_cluster * sector_bytes))
    done
    contents=$((contents + slots * snapshot_bytes + $(du -sb "$scratch/grub" | cut -f 1)))
    contents=$((contents / 1048576 + 4))
    ((contents < largest_mib)) || fail "the contents have $contents MiB, and a FAT16 holds up to $largest_mib: choose a smaller\
 type for the model (bareflow-import --quant q8_0 or q4_0)"
    wanted=$((contents + contents / 4 + spare_mib))
    ((wanted >= default_least_mib)) || wanted=$default_least_mib
    # A little over a limit is not worth what is beyond it.
    if ((wanted > portable_mib && contents + spare_mib <= portable_mib)); then wanted=$portable_mib; fi
    ((wanted <= largest_mib)) || wanted=$largest_mib
    [[ -n $size ]] || size=$wanted
    ((size >= contents)) || fail "--size $size: the contents need $contents MiB; leave --size out, or give $wanted"
}

check_size() {
    ((size >= smallest_mib)) ||
        fail "--size $size: a FAT16 with clusters of 4 KiB begins at $smallest_mib MiB; give at least that" 2
    ((size <= largest_mib)) || fail "--size $size: a FAT16 ends at 4 GB; give at most $largest_mib, and choose a smaller type\
 for a model that is too large (bareflow-import --quant q8_0 or q4_0)" 2
}

# ------------------------------------------------------------------------------------------------ what goes in
stripped_kernel() { # ELF NAME
    check_kernel "$1"
    strip_kernel "$1" "$scratch/boot/$2.elf"
}

# GRUB's environment block: what `grub-editenv create` makes, without its warning. The variables stand in the first of its
# two sectors, so that setting one changes one sector.
environment_block() {
    local text
    printf -v text '# GRUB Environment Block\nstage=%s\nnative=%s\n' "$stage" "$native_state"
    ! $usb || text+=$'model=module\n'
    printf '%s' "$text"
    head -c $((environment_bytes - ${#text})) /dev/zero | tr '\0' '#'
}

make_grub() {
    local module
    mkdir -p "$scratch/grub/i386-pc"
    cp "$here/disk.cfg" "$scratch/grub/grub.cfg"
    environment_block >"$scratch/grub/grubenv"
    while read -r module; do
        cp "$grub/i386-pc/$module.mod" "$scratch/grub/i386-pc/"
    done < <(with_dependencies "$grub/i386-pc/moddep.lst" "${modules[@]}" "${bios_video[@]}")
    grub-mkimage -O i386-pc -p '(,msdos1)/boot/grub' -o "$scratch/core.img" "${bios_core[@]}"
    grub-mkimage -O x86_64-efi -p /boot/grub -o "$scratch/grub/BOOTX64.EFI" "${efi_modules[@]}"
}

# ------------------------------------------------------------------------------------------------ the disk
little_endian32() { # N: as four escapes for printf
    printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255))
}
put() { # OFFSET, the bytes from standard input: over what stands in the image
    dd of="$image" bs=64K oflag=seek_bytes conv=notrunc seek="$1" status=none
}
put_escaped() { # OFFSET ESCAPES
    # shellcheck disable=SC2059 # they are the format
    printf "$2" | put "$1"
}

# The master boot record: GRUB's first sector, which loads the core from the sectors behind it, and one partition, active
# for a BIOS and of the type that UEFI looks for.
write_boot_record() {
    local core_sectors active='\x80' efi_system='\xef' beyond_chs='\xfe\xff\xff' entry
    core_sectors=$((($(bytes_of "$scratch/core.img") + sector_bytes - 1) / sector_bytes))
    ((core_sectors < partition_sector)) || fail "GRUB's core has $core_sectors sectors; $partition_sector are free for it"
    # Without the floppy's part of it, which is where a disk has its identity and its table.
    head -c $((0x1b8)) "$grub/i386-pc/boot.img" | put 0
    put $sector_bytes <"$scratch/core.img"
    # boot.img's check of the drive's number becomes two nops, as grub-install has it on hard disks: some BIOSes pass a
    # wrong one.
    put_escaped $((0x66)) '\x90\x90'
    put_escaped $((0x1b8)) "$disk_id"
    entry=$active$beyond_chs$efi_system$beyond_chs
    entry+=$(little_endian32 $partition_sector)$(little_endian32 "$partition_sectors")
    put_escaped $((0x1be)) "$entry"
    put_escaped $((0x1fe)) '\x55\xaa'
}

make_file_system() {
    local cluster=$smallest_cluster
    while ((partition_sectors / cluster > most_clusters && cluster < largest_cluster)); do cluster=$((cluster * 2)); done
    mkfs.fat -F 16 -s "$cluster" -n "$label" --invariant -i "$volume_id" -h $partition_sector --offset $partition_sector \
        "$image" $((partition_sectors / 2)) >"$scratch/mkfs.log" 2>&1 || fail "mkfs.fat: $(cat "$scratch/mkfs.log")"
}

# mtools on the partition; each call's files lie in one piece behind those of the call before.
on_disk() { # COMMAND ARGUMENTS
    "$1" -i "$image@@$((partition_sector * sector_bytes))" "${@:2}" || fail "$1 failed: the image is not complete"
}

copy_files() {
    truncate -s $snapshot_bytes "$scratch/empty"
    on_disk mmd ::/EFI ::/EFI/BOOT ::/boot ::/boot/grub ::/boot/grub/i386-pc
    # What is rewritten in place stands first.
    on_disk mcopy "$scratch/grub/grubenv" ::/boot/grub/grubenv
    if ((slots > 0)); then
        on_disk mcopy "$scratch/empty" ::/SNAPA.BIN
        on_disk mcopy "$scratch/empty" ::/SNAPB.BIN
    fi
    on_disk mcopy "$scratch/grub/BOOTX64.EFI" ::/EFI/BOOT/BOOTX64.EFI
    on_disk mcopy "$scratch/grub/grub.cfg" ::/boot/grub/grub.cfg
    on_disk mcopy "$scratch"/grub/i386-pc/*.mod ::/boot/grub/i386-pc
    on_disk mcopy "$scratch"/boot/*.elf ::/boot
    [[ -z $config ]] || on_disk mcopy "$config" ::/bareflow.cfg
    [[ -z $model ]] || on_disk mcopy "$model" ::/model.wllm
}

# ------------------------------------------------------------------------------------------------ main
kernel='' out='' small='' native='' stage=full model='' usb=false config='' size=''
while (($#)); do
    case $1 in
        --help) usage && exit 0 ;;
        --usb) usb=true ;;
        -o | --small | --native | --stage | --model | --config | --size)
            (($# >= 2)) || fail "$1 needs a value" 2
            case $1 in
                -o) out=$2 ;;
                --small) small=$2 ;;
                --native) native=$2 ;;
                --stage) stage=$2 ;;
                --model) model=$2 ;;
                --config) config=$2 ;;
                --size) size=$2 ;;
            esac
            shift
            ;;
        -*) fail "unknown option $1; --help tells the options" 2 ;;
        *)
            [[ -z $kernel ]] || fail "what is $1?" 2
            kernel=$1
            ;;
    esac
    shift
done
[[ -n $out && (-n $kernel || ($stage == native && -n $native)) ]] ||
    fail "give a kernel, and the file to write after -o; --help tells more" 2
[[ -z $size || $size =~ ^[1-9][0-9]{0,8}$ ]] || fail "--size: \"$size\" is no whole number of MiB" 2
[[ $stage =~ ^(full|small|native)$ ]] || fail "--stage: \"$stage\" is not allowed; give one of: full small native" 2
[[ $stage != small || -n $small ]] || fail "--stage small needs --small ELF" 2
[[ $stage != native || -n $native ]] || fail "--stage native needs --native ELF" 2
for file in ${model:+"$model"} ${config:+"$config"}; do [[ -f $file && -r $file ]] || fail "there is no readable file $file"; done
if [[ -n $model && $(head -c 4 -- "$model" | od -An -tx1 | tr -d ' \n') != "$wllm_magic" ]]; then
    fail "$model is no .wllm; \`build/host/bareflow-import $model -o MODEL.wllm\` makes one"
fi
[[ -z $size ]] || check_size
check_tools mkfs.fat mmd mcopy

# One date for all files, so that the same inputs give the same bytes (FAT's calendar begins in 1980).
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-946684800}
export TZ=UTC MTOOLSRC=/dev/null
scratch=$(mktemp -d)
# Beside its name first: whoever reads meanwhile has the old one or the new one, never half of one.
image=$out.new
trap 'rm -rf "$scratch" "$image"' EXIT
mkdir -p "$scratch/boot" "$(dirname "$out")"
# With nothing to fall back on, a native kernel needs no try, and it learns nothing that would want a slot.
slots=2 native_state=untried
if [[ -n $kernel ]]; then
    stripped_kernel "$kernel" bareflow
else
    slots=0 native_state=good default_least_mib=$smallest_mib spare_mib=0
fi
[[ -z $small ]] || stripped_kernel "$small" small
[[ -z $native ]] || stripped_kernel "$native" native
make_grub
choose_size

rm -f "$image"
truncate -s "${size}M" "$image"
partition_sectors=$((size * mib_sectors - partition_sector))
write_boot_record
make_file_system
copy_files
# What is zero takes no room on this machine's disk.
fallocate --dig-holes "$image" 2>/dev/null || true
mv "$image" "$out"
