#!/bin/bash
# Builds the ISO that GRUB boots, by BIOS and by UEFI, from a CD or from a disk or USB stick:
#
#     iso/make-iso.sh KERNEL OUT [--model FILE.wllm] [--config bareflow.cfg]
#
# grub-mkrescue would bring 25 MB and a core that complains on the screen about each partition module it does not find,
# letter by letter through the BIOS: 0.2 s under TCG. So the two GRUB images are made here, of what grub.cfg needs. The
# same inputs give the same bytes.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
# shellcheck source=iso/grub_parts.sh
source "$here/grub_parts.sh"
# Module names as in $grub/*/moddep.lst. The BIOS core is packed with LZMA, which TCG unpacks slowly: it carries what
# finds the rest and no more, the rest lies unpacked in the file system.
bios_core=(biosdisk iso9660)
bios_modules=(normal test keystatus multiboot2 "${bios_video[@]}")
efi_modules=(iso9660 part_gpt part_msdos fat search normal test keystatus multiboot2 "${efi_video[@]}")
# Bytes of the FAT image that carries BOOTX64.EFI, a 1.44 MB floppy's: firmware knows that shape.
efi_image_kib=1440

# The BIOS half: a core image, and its modules as files of the ISO.
add_bios() {
    local tree=$1 module
    mkdir -p "$tree/boot/grub/i386-pc"
    grub-mkimage -O i386-pc-eltorito -p /boot/grub -o "$tree/boot/grub/bios.img" "${bios_core[@]}"
    while read -r module; do
        cp "$grub/i386-pc/$module.mod" "$tree/boot/grub/i386-pc/"
    done < <(with_dependencies "$grub/i386-pc/moddep.lst" "${bios_modules[@]}")
}

# The UEFI half: one .EFI file with its modules inside, in a FAT image that is also the disk's EFI partition.
add_efi() {
    local tree=$1 scratch=$2 image=$1/boot/grub/efi.img
    cat >"$scratch/early.cfg" <<'END'
search --set=root --hint "$root" --file /boot/bareflow.elf
set prefix=($root)/boot/grub
END
    grub-mkimage -O x86_64-efi -c "$scratch/early.cfg" -p /boot/grub -o "$scratch/BOOTX64.EFI" "${efi_modules[@]}"
    truncate -s "${efi_image_kib}K" "$image"
    mformat -i "$image" -f "$efi_image_kib" -N 0 ::
    mmd -i "$image" ::/EFI ::/EFI/BOOT
    mcopy -i "$image" "$scratch/BOOTX64.EFI" ::/EFI/BOOT/BOOTX64.EFI
}

build_iso() {
    local tree=$1 out=$2
    find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    xorriso -as mkisofs -quiet -r -V BAREFLOW -o "$out" \
        -b boot/grub/bios.img -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info \
        --grub2-mbr "$grub/i386-pc/boot_hybrid.img" --protective-msdos-label \
        --efi-boot boot/grub/efi.img -efi-boot-part --efi-boot-image \
        "$tree"
}

kernel='' out='' model='' config=''
while (($#)); do
    case $1 in
        --help) usage && exit 0 ;;
        --model | --config)
            (($# >= 2)) || fail "$1 needs a file" 2
            [[ -f $2 ]] || fail "$1: there is no file $2"
            if [[ $1 == --model ]]; then model=$2; else config=$2; fi
            shift
            ;;
        -*) fail "unknown option $1; --help tells the options" 2 ;;
        *)
            if [[ -z $kernel ]]; then kernel=$1; elif [[ -z $out ]]; then out=$1; else fail "what is $1?" 2; fi
            ;;
    esac
    shift
done
[[ -n $out ]] || fail "give a kernel and the file to write; --help tells more" 2
check_tools xorriso mformat mmd mcopy
check_kernel "$kernel"

# One date for all files, so that the same inputs give the same bytes (FAT's calendar begins in 1980).
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-946684800}
export TZ=UTC
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/iso
mkdir -p "$tree/boot/grub" "$(dirname "$out")"
strip_kernel "$kernel" "$tree/boot/bareflow.elf"
cp "$here/grub.cfg" "$tree/boot/grub/grub.cfg"
[[ -z $model ]] || cp "$model" "$tree/boot/model.wllm"
[[ -z $config ]] || cp "$config" "$tree/bareflow.cfg"
add_bios "$tree"
add_efi "$tree" "$scratch"
build_iso "$tree" "$scratch/out.iso" 2>"$scratch/xorriso.log" || fail "xorriso: $(cat "$scratch/xorriso.log")"
# Beside its name first: a launcher that starts meanwhile reads the old one or the new one, never half of one.
cp "$scratch/out.iso" "$out.new"
mv "$out.new" "$out"
