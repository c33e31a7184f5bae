# shellcheck shell=bash
# What make-iso.sh and make-disk.sh share: GRUB's files as Debian installs them. To be sourced.

grub=/usr/lib/grub
# What asks the firmware for a linear framebuffer.
# shellcheck disable=SC2034 # they are the builders'
bios_video=(vbe) efi_video=(efi_gop)

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-1}"
}

# The caller's head, as --help.
usage() {
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"
}

check_tools() { # NAME...
    local tool
    for tool in grub-mkimage grub-file objcopy readelf "$@"; do
        command -v "$tool" >/dev/null || fail "$tool is missing; \`make deps\` installs it"
    done
    [[ -f $grub/i386-pc/moddep.lst ]] || fail "$grub/i386-pc is missing; \`make deps\` installs grub-pc-bin"
    [[ -f $grub/x86_64-efi/moddep.lst ]] || fail "$grub/x86_64-efi is missing; \`make deps\` installs grub-efi-amd64-bin"
}

check_kernel() { # ELF
    [[ -f $1 ]] || fail "there is no kernel $1; \`make kernel\` builds one"
    grub-file --is-x86-multiboot2 "$1" || fail "$1 is no Multiboot2 kernel"
}

# GRUB would load symbols and debug information too. What has none may carry more than its sections, as bareflow-native's do.
strip_kernel() { # ELF OUT
    if readelf -SW "$1" | grep -q ' SYMTAB '; then objcopy --strip-all "$1" "$2"; else cp "$1" "$2"; fi
}

# Prints the named modules and all that they need, given a moddep.lst of lines `module: needed needed`.
with_dependencies() { # MODDEP.LST MODULE...
    local list=$1
    shift
    awk -F': *' -v wanted="$*" '
        { needs[$1] = $2 }
        function visit(name,    i, n, parts) {
            if (seen[name]++) return
            n = split(needs[name], parts, " ")
            for (i = 1; i <= n; i++) visit(parts[i])
            print name
        }
        END { count = split(wanted, names, " "); for (k = 1; k <= count; k++) visit(names[k]) }' "$list"
}
