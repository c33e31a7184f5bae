#!/bin/bash
# BareFlow in QEMU: starts the ISO or a disk, gives it its options, and brings its text to your terminal. --help tells the rest.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
root=$(dirname "$here")
build=$root/build
cache=$build/cache

# ------------------------------------------------------------------------------------------------ constants
# QEMU's status is (value << 1) | 1 for the value that the kernel writes to isa-debug-exit (arch/x86_64/exit.cpp).
status_success=33
status_failure=65
status_timeout=124 # of timeout(1)
console_reader_gone=3 # of console_filter.pl
max_command_line=32768 # what the kernel reads
wllm_magic=4c4c4d57 # the first bytes of a .wllm file: "WLLM" as a little-endian number
gguf_magic=47475546 # "GGUF"
# A file up to this size is known by its contents, a larger one, which would take seconds to read, by place, size and date.
most_hashed_mib=64
max_tokenizer_kib=4096
kept_in_cache=6 # the newest images and imported models that stay in build/cache
# Any model up to stories15M's 60 MB runs in it, and UEFI firmware too; a larger model gets what it needs (choose_ram).
default_ram_mib=512
# What must be free beside the kernel and a model: the first 16 MiB (the kernel is linked there), GRUB, page tables,
# the KV cache of a small model; UEFI firmware keeps more. Measured: with a 3 MiB kernel 24 MiB boot by BIOS, 56 by UEFI.
bios_overhead_mib=24
uefi_overhead_mib=56
# A file of fw_cfg has a size of 32 bits.
max_model_mib=4095
sector_bytes=512
icount_date=2026-01-01T00:00:00
most_ahci_disks=5 # q35 has six ports, and the CD is at the first
disk_partition_offset=1048576 # where make-disk.sh has the FAT16
# A model lies in one piece; beyond 2.75 GiB of RAM q35 has 2 GiB below 4 GiB and the rest above.
low_ram_mib=2048

usage() {
    cat <<'END'
usage: iso/boot.sh [options] [-- QEMU options]

Boots BareFlow in QEMU. With -p it writes one text to standard output and ends; without, it is a chat on your terminal.

The text
  -p TEXT                begin with TEXT, write, end
  -n N                   tokens to write after it; -1: to the end (default: 256)
  --temp T               temperature; 0 takes the likeliest token each time (default: 0.8)
  --top-k K              choose among the K likeliest; 0: all (default: 40)
  --top-p P              choose among the likeliest that reach P together (default: 0.95)
  --min-p P              leave out what is less likely than P times the likeliest (default: 0.05)
  --repeat-penalty R     1: none (default: 1.0)
  --seed N               -1: a random one (default: -1)
  -c N                   context length; 0: the model's (default: 0)
  --stop TEXT            end where the model writes TEXT; may be given four times
  --cache-type f32|f16   how keys and values are kept; f16 takes half the memory (default: f32)
The chat
  --chat-template NAME   plain, zephyr, llama-2 or chatml: how it is written for the model (default: the model's own)
  --system TEXT          what it begins with: who the model is to be, and how it is to answer
The model
  -m FILE                .wllm, or what is converted first: a .gguf, a llama2.c .bin or a Hugging Face folder (default: the
                         embedded one)
  -z FILE                its tokenizer (default: its own; NAME.tokenizer.bin, or the one beside it that fits)
The path
  -t N                   cores that compute; 0: all that --smp gives (default: 0)
  --isa NAME             auto, scalar, sse2, ssse3, avx2 or avx512: instructions to use (default: auto)
  --jit on|off           machine code made for the model's shapes (default: on)
  --tune WHEN            idle, inline or off: when faster plans are looked for (default: idle)
  --tune-ms N            milliseconds of that in one boot; with -p: after the text (default: 2000)
  --profile on|off       show where the time went, at the end (default: off)
  --assembler NAME       what encodes it: asmjit or tiny (default: asmjit)
  --numerics CLASS       auto, fma or muladd (default: auto)
The machine
  --ram MiB              memory (default: 512, or what the model needs)
  --smp N                virtual cores (default: 1)
  --firmware bios|uefi   (default: bios)
  --accel auto|kvm|tcg|icount
                         auto: KVM where a probe finds that it works; icount: TCG whose clocks count instructions, so that
                         the same disk and options give the same run, one core (default: auto)
  --disk IMG             a raw image file as a disk; may be given more than once
  --boot iso|disk        what the machine starts from: BareFlow's ISO, or the first --disk, which `make disk` has made and
                         which has its own kernel and model (default: iso)
  --disk-bus BUS         virtio, virtio-legacy or ahci: what the disks are to the machine (default: virtio)
  --display WHAT         none, or the machine gets a screen: gtk or sdl, a window; vnc=ADDRESS:N, for a viewer; type there or here
                         (default: none)
  --log FILE             the kernel's log (default: build/boot.log)
  --timeout S            end the machine after S seconds, with status 1
  --kernel ELF           another kernel for the ISO (default: build/bareflow.elf)
  --set KEY=VALUE        an option that only the kernel has: weights=embedded, exit=acpi, ...
  --help                 this text
  -- ...                 everything after it goes to QEMU

Exit status: 0 the kernel said that it finished well; 1 it did not, or something is missing; 2 a wrong option.
END
}

say() { printf 'boot.sh: %s\n' "$*" >&2; }
fail() {
    say "$@"
    exit 1
}
usage_error() {
    say "$@"
    say "--help tells the options"
    exit 2
}

# ------------------------------------------------------------------------------------------------ options
model='' tokenizer='' prompt='' has_prompt=false ram='' smp=1 firmware=bios accel=auto log=$build/boot.log
kernel='' timeout=0 disks=() disk_bus=virtio boot_from=iso display=none
kernel_line=''  # options for the kernel, quoted as its command line wants them
qemu_extra=()

# Quotes one word for the kernel's command line.
quoted() {
    local word=${1//\\/\\\\}
    printf '"%s"' "${word//\"/\\\"}"
}
to_kernel() { kernel_line+="--$1 $(quoted "$2") "; }

want_number() { # NAME VALUE LOW HIGH: a decimal fraction in [LOW, HIGH]
    if [[ $2 =~ ^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$ ]] &&
        awk -v value="$2" -v low="$3" -v high="$4" 'BEGIN { exit !(value + 0 >= low && value + 0 <= high) }'; then
        return 0
    fi
    usage_error "$1: \"$2\" is not allowed; give a number from $3 to $4"
}
want_count() { # NAME VALUE LOW HIGH: a whole number in [LOW, HIGH]
    if [[ $2 =~ ^[0-9]{1,10}$ ]] && ((10#$2 >= $3 && 10#$2 <= $4)); then return 0; fi
    usage_error "$1: \"$2\" is not allowed; give a whole number from $3 to $4"
}
want_one_of() { # NAME VALUE ALLOWED...
    local name=$1 value=$2 word
    shift 2
    for word; do [[ $value != "$word" ]] || return 0; done
    usage_error "$name: \"$value\" is not allowed; give one of: $*"
}

set_option() { # NAME VALUE
    local name=$1 value=$2
    case $name in
        -p | --prompt) prompt=$value has_prompt=true ;;
        -n | --n-predict)
            [[ $value == -1 ]] || want_count "$name" "$value" 0 1000000000
            to_kernel n-predict "$value"
            ;;
        --temp) want_number "$name" "$value" 0 100 && to_kernel temp "$value" ;;
        --top-k) want_count "$name" "$value" 0 1000000000 && to_kernel top-k "$value" ;;
        --top-p | --min-p) want_number "$name" "$value" 0 1 && to_kernel "${name#--}" "$value" ;;
        --repeat-penalty) want_number "$name" "$value" 0.01 100 && to_kernel repeat-penalty "$value" ;;
        --seed)
            [[ $value == -1 || $value =~ ^[0-9]{1,20}$ ]] ||
                usage_error "--seed: \"$value\" is not allowed; give a whole number, or -1 for a random one"
            to_kernel seed "$value"
            ;;
        -c | --ctx-size) want_count "$name" "$value" 0 1000000000 && to_kernel ctx-size "$value" ;;
        -t | --threads)
            want_count "$name" "$value" 0 64
            to_kernel threads "$value"
            ;;
        --chat-template)
            want_one_of "$name" "$value" plain zephyr llama-2 chatml
            to_kernel chat-template "$value"
            ;;
        --system | --stop) to_kernel "${name#--}" "$value" ;;
        --cache-type) want_one_of "$name" "$value" f32 f16 && to_kernel cache-type "$value" ;;
        --isa)
            want_one_of "$name" "$value" auto scalar sse2 ssse3 avx2 avx512
            to_kernel isa "$value"
            ;;
        --jit) want_one_of "$name" "$value" on off && to_kernel jit "$value" ;;
        --tune) want_one_of "$name" "$value" idle inline off && to_kernel tune "$value" ;;
        --tune-ms) want_count "$name" "$value" 0 1000000000 && to_kernel tune-ms "$value" ;;
        --profile) want_one_of "$name" "$value" on off && to_kernel profile "$value" ;;
        --assembler) want_one_of "$name" "$value" asmjit tiny && to_kernel assembler "$value" ;;
        --numerics) want_one_of "$name" "$value" auto fma muladd && to_kernel numerics "$value" ;;
        -m | --model) model=$value ;;
        -z | --tokenizer) tokenizer=$value ;;
        --ram) want_count "$name" "$value" 16 1048576 && ram=$((10#$value)) ;;
        --smp) want_count "$name" "$value" 1 255 && smp=$((10#$value)) ;;
        --firmware) want_one_of "$name" "$value" bios uefi && firmware=$value ;;
        --accel) want_one_of "$name" "$value" auto kvm tcg icount && accel=$value ;;
        --boot) want_one_of "$name" "$value" iso disk && boot_from=$value ;;
        --disk) disks+=("$value") ;;
        --disk-bus) want_one_of "$name" "$value" virtio virtio-legacy ahci && disk_bus=$value ;;
        --display)
            [[ $value =~ ^(none|gtk|sdl|vnc=.+)$ ]] ||
                usage_error "$name: \"$value\" is not allowed; give one of: none gtk sdl vnc=ADDRESS:N"
            display=$value
            ;;
        --log) log=$value ;;
        --timeout) want_number "$name" "$value" 0.1 1000000 && timeout=$value ;;
        --kernel) kernel=$value ;;
        --set)
            [[ $value =~ ^[a-z-]+= ]] || usage_error "--set: \"$value\" is not KEY=VALUE"
            to_kernel "${value%%=*}" "${value#*=}"
            ;;
        *) usage_error "unknown option $name" ;;
    esac
}

parse_options() {
    while (($#)); do
        case $1 in
            --help) usage && exit 0 ;;
            --)
                qemu_extra=("${@:2}")
                return
                ;;
            --*=*) set_option "${1%%=*}" "${1#*=}" ;;
            -?*)
                is_option "$1" || usage_error "unknown option $1"
                (($# >= 2)) || usage_error "$1 needs a value"
                set_option "$1" "$2"
                shift
                ;;
            *) usage_error "\"$1\" is no option (a text goes after -p, in quotes)" ;;
        esac
        shift
    done
}
# Whether --help names it: then a lone `-x` or `--x` lacks its value rather than being unknown.
is_option() {
    [[ " --prompt --n-predict --ctx-size --threads --model --tokenizer " == *" $1 "* ]] ||
        usage | grep -qE -- "^  $1 "
}

# ------------------------------------------------------------------------------------------------ model and image
bytes_of() { stat -L -c %s "$1"; }
mib_of() { echo $((($(bytes_of "$1") + 1048575) / 1048576)); }
digest_of() {
    local file
    for file; do
        if (($(mib_of "$file") > most_hashed_mib)); then
            stat -L -c "%i %s %y $(realpath -- "$file")" "$file"
        else
            sha256sum -- "$file"
        fi
    done | sha256sum | cut -c 1-16
}

# Keeps the cache from growing for ever: the oldest of its files that $1 (a suffix) names go.
prune_cache() {
    find "$cache" -maxdepth 1 -name "*$1" -printf '%T@ %p\n' | sort -rn | tail -n +$((kept_in_cache + 1)) |
        cut -d ' ' -f 2- | while IFS= read -r old; do rm -f -- "$old"; done
}

# What imports that did not end have left: bareflow-import writes NAME.partial-PID first.
remove_abandoned() {
    local file
    for file in "$cache"/*.wllm.*; do
        [[ -e /proc/${file##*[.-]} ]] || rm -f -- "$file"
    done
}

magic_of() { head -c 4 -- "$1" | od -An -tx1 | tr -d ' \n'; }
is_wllm() { [[ $(magic_of "$1") == "$wllm_magic" ]]; }

# Turns $model into a .wllm file, which it then names.
import_model() {
    local importer=$build/host/bareflow-import arguments=("$model") inputs=() imported candidate
    [[ -x $importer ]] || fail "$model is no .wllm, and $importer, which would convert it, is not built: run \`make\`"
    if [[ -d $model ]]; then
        # A Hugging Face folder: the files that the importer may read.
        while IFS= read -r candidate; do inputs+=("$candidate"); done < <(find "${model%/}/" -maxdepth 1 \( -name '*.json' \
            -o -name '*.safetensors' -o -name tokenizer.model -o -name '*.jinja' \) | sort)
    else
        inputs=("$model")
    fi
    if [[ -n $tokenizer ]]; then
        arguments+=(-z "$tokenizer")
        inputs+=("$tokenizer")
    elif [[ ! -d $model && $(magic_of "$model") != "$gguf_magic" ]]; then # which have their own
        # The importer may choose any small .bin beside the model: they belong to what the result is known by.
        while IFS= read -r candidate; do inputs+=("$candidate"); done < <(find "$(dirname "$model")" -maxdepth 1 \
            -name '*.bin' -size "-${max_tokenizer_kib}k" ! -samefile "$model" | sort)
    fi
    imported=$cache/$(digest_of "$importer" "${inputs[@]}").wllm
    if [[ -f $imported ]] && ! "$importer" --inspect "$imported" >/dev/null; then
        say "what was kept of $model is damaged, see above: it is converted again"
        rm -f "$imported"
    fi
    if [[ ! -f $imported ]]; then
        mkdir -p "$cache"
        remove_abandoned
        say "converting $model to .wllm (once: it stays in build/cache)"
        "$importer" "${arguments[@]}" -o "$imported" >/dev/null || fail "$model cannot be used as a model, see above"
        prune_cache .wllm
    fi
    touch "$imported"
    model=$imported
}

# The model as a .wllm file, or a clear error.
prepare_model() {
    [[ -n $tokenizer && -z $model ]] && usage_error "-z names the tokenizer of a model file: give -m too"
    [[ -z $tokenizer || -r $tokenizer ]] || fail "-z: there is no readable file $tokenizer"
    [[ -n $model ]] || return 0
    [[ -e $model ]] || fail "-m: there is no file $model"
    [[ -r $model ]] || fail "-m: $model cannot be read"
    if [[ ! -f $model ]] || ! is_wllm "$model"; then import_model; fi
}

# How much RAM, and whether kernel and model fit into it.
choose_ram() {
    local overhead=$bios_overhead_mib kernel_mib model_mib=0 needed
    [[ $firmware == bios ]] || overhead=$uefi_overhead_mib
    if [[ $boot_from == disk ]]; then
        kernel_mib=$(mib_on_disk /boot/bareflow.elf)
        model_mib=$(mib_on_disk /model.wllm)
    else
        kernel_mib=$(mib_of "$kernel")
    fi
    [[ -z $model ]] || model_mib=$(mib_of "$model")
    ((model_mib <= max_model_mib)) ||
        fail "the model has $model_mib MiB; QEMU can hand over up to $max_model_mib MiB; put it on a disk, as model.wllm, and give that with --disk"
    needed=$((overhead + kernel_mib + model_mib))
    ((needed < low_ram_mib)) || needed=$((needed + low_ram_mib))
    if [[ -z $ram ]]; then
        ram=$((needed + 256 > default_ram_mib ? needed + 256 : default_ram_mib))
    elif ((ram < needed)); then
        fail "$ram MiB of RAM are too few: $kernel_mib MiB kernel + $model_mib MiB model + $overhead MiB for" \
            "$firmware and working memory; give --ram $needed or more"
    fi
}

# What to boot: the disk, or the ISO, the one that `make iso` built, or one made for this kernel.
prepare_image() {
    if [[ $boot_from == disk ]]; then
        image=${disks[0]}
        return
    fi
    if [[ $kernel == "$build/bareflow.elf" && -f $build/bareflow.iso ]]; then
        image=$build/bareflow.iso
        return
    fi
    local inputs=("$kernel" "$here/grub.cfg" "$here/make-iso.sh" "$here/grub_parts.sh") arguments=("$kernel")
    image=$cache/$(digest_of "${inputs[@]}").iso
    if [[ ! -f $image ]]; then
        mkdir -p "$cache"
        arguments+=("$image")
        "$here/make-iso.sh" "${arguments[@]}"
        prune_cache .iso
    fi
    touch "$image"
}

# ------------------------------------------------------------------------------------------------ disks
check_disks() {
    local disk bytes
    for disk in "${disks[@]}"; do
        [[ -e $disk ]] || fail "--disk: there is no file $disk; \`truncate -s 64M FILE\` makes an empty one"
        [[ -f $disk ]] || fail "--disk: $disk is no image file"
        [[ -r $disk && -w $disk ]] || fail "--disk: $disk cannot be read and written by you; change its permissions, or copy it"
        bytes=$(bytes_of "$disk")
        ((bytes > 0 && bytes % sector_bytes == 0)) ||
            fail "--disk: $disk has $bytes bytes; a disk is a whole number of sectors of $sector_bytes bytes, at least one"
    done
    [[ $disk_bus != ahci ]] || ((${#disks[@]} <= most_ahci_disks)) ||
        fail "--disk-bus ahci: the machine has ports for $most_ahci_disks disks beside the CD; --disk-bus virtio takes more"
}

# Prints a file's size in MiB, rounded up, as the first disk's FAT16 has it; 0 if there is none.
mib_on_disk() { # PATH
    local bytes
    bytes=$(MTOOLSRC=/dev/null MTOOLS_SKIP_CHECK=1 mdir -i "${disks[0]}@@$disk_partition_offset" "::$1" 2>/dev/null |
        sed -n 's/^ *1 file  *\([0-9 ]*\) bytes$/\1/p' | tr -d ' ') || true
    echo $(((${bytes:-0} + 1048575) / 1048576))
}

check_boot_disk() {
    command -v mdir >/dev/null || fail "mdir is missing; \`make deps\` installs mtools"
    [[ $(mib_on_disk /boot/bareflow.elf)$(mib_on_disk /boot/native.elf) != 00 && $(mib_on_disk /boot/grub/grub.cfg) != 0 ]] ||
        fail "--boot disk: ${disks[0]} is no disk that \`make disk\` has made: there is no FAT16 at its first MiB with" \
            "BareFlow and GRUB; leave --boot out to use it beside the ISO"
}

add_disks() {
    local number device
    for number in "${!disks[@]}"; do
        case $disk_bus in
            virtio) device='virtio-blk-pci,disable-legacy=on' ;;
            virtio-legacy) device='virtio-blk-pci,disable-modern=on,disable-legacy=off' ;;
            ahci) device="ide-hd,bus=ide.$((number + 1))" ;;
        esac
        [[ $boot_from != disk || $number != 0 ]] || device+=,bootindex=0
        # A flush of the guest is an fsync of the file; an error is the guest's to handle, and never stops the machine.
        qemu+=(-drive "if=none,id=disk$number,format=raw,cache=writeback,file=$(comma_safe "${disks[number]}")"
            -device "$device,drive=disk$number,werror=report,rerror=report")
    done
}

# ------------------------------------------------------------------------------------------------ the machine
choose_accelerator() {
    local probe=$build/host/kvm-probe verdict usable=false
    if [[ $accel == tcg || $accel == icount ]]; then
        [[ $accel == tcg || $smp == 1 ]] || usage_error "--accel icount has one core: leave out --smp $smp"
        accel_reason='asked for'
        return
    fi
    if [[ ! -x $probe ]]; then
        verdict="no probe is built ($probe)"
    elif verdict=$("$probe" 2>&1); then
        usable=true
    fi
    accel_reason=${verdict#kvm: }
    if $usable; then
        accel=kvm
    elif [[ $accel == kvm ]]; then
        fail "--accel kvm: KVM does not work here: $accel_reason"
    else
        accel=tcg
    fi
}

find_ovmf() {
    ovmf_code=/usr/share/OVMF/OVMF_CODE_4M.fd
    local variables=/usr/share/OVMF/OVMF_VARS_4M.fd
    [[ -r $ovmf_code && -r $variables ]] || fail "UEFI firmware is missing ($ovmf_code); \`make deps\` installs ovmf"
    ovmf_variables=$scratch/vars.fd
    cp "$variables" "$ovmf_variables"
}

comma_safe() { printf '%s' "${1//,/,,}"; } # in QEMU's options a comma in a value is doubled

build_qemu_command() {
    qemu=(qemu-system-x86_64 -name BareFlow -no-user-config -nodefaults -display "$display" -no-reboot
        -machine q35 -m "$ram" -smp "$smp")
    [[ $display == none ]] || qemu+=(-vga std)
    if [[ $accel == kvm ]]; then
        qemu+=(-accel kvm -cpu host)
    elif [[ $accel == icount ]]; then
        # An instruction is a nanosecond; the machine's date is always the same.
        qemu+=(-accel 'tcg,thread=single' -cpu max -icount 'shift=0,align=off,sleep=off' -rtc "base=$icount_date,clock=vm")
    else
        qemu+=(-accel 'tcg,thread=multi' -cpu max)
    fi
    if [[ $firmware == uefi ]]; then
        find_ovmf
        qemu+=(-drive "if=pflash,format=raw,readonly=on,file=$ovmf_code"
            -drive "if=pflash,format=raw,file=$(comma_safe "$ovmf_variables")")
    fi
    # As a CD: GRUB reads it through the BIOS as quickly as a virtio disk.
    [[ $boot_from == disk ]] ||
        qemu+=(-drive "if=none,id=boot,format=raw,media=cdrom,readonly=on,file=$(comma_safe "$image")"
            -device 'ide-cd,bus=ide.0,drive=boot,bootindex=0')
    qemu+=(-chardev 'stdio,id=console,signal=off' -serial chardev:console
        -chardev "file,id=log,append=on,path=$(comma_safe "$log")" -serial chardev:log
        -device 'isa-debug-exit,iobase=0xf4,iosize=4'
        -fw_cfg "name=opt/bareflow/cmdline,file=$(comma_safe "$scratch/cmdline")")
    # The kernel reads it by DMA, a gigabyte in part of a second, where GRUB's BIOS calls take 50 ms a megabyte under TCG.
    [[ -z $model ]] || qemu+=(-fw_cfg "name=opt/bareflow/model,file=$(comma_safe "$model")")
    add_disks
    qemu+=("${qemu_extra[@]}")
}

start_log() {
    mkdir -p "$(dirname "$log")"
    printf 'launcher accel=%s reason="%s" firmware=%s ram_mib=%s smp=%s image="%s" image_bytes=%s\n' \
        "$accel" "${accel_reason//\"/\'}" "$firmware" "$ram" "$smp" "${image#"$root"/}" "$(bytes_of "$image")" >"$log"
}

# Starts QEMU and the filter behind it. Whatever ends this script ends QEMU too: the trap, or, should the script be
# killed outright, the kernel's parent-death signal (SIGTERM lets QEMU give the terminal back as it was).
start_machine() {
    mkfifo "$scratch/console"
    perl "$here/console_filter.pl" <"$scratch/console" &
    filter_pid=$!
    if $interactive; then
        exec 3<&0
    else
        exec 3</dev/null
    fi
    setpriv --pdeathsig TERM timeout --foreground --kill-after=5 "$timeout" \
        setpriv --pdeathsig TERM "${qemu[@]}" <&3 >"$scratch/console" &
    qemu_pid=$!
}

# Waits for both; leaves QEMU's status in qemu_status.
wait_for_machine() {
    local ended='' first_status=0
    wait -n -p ended "$qemu_pid" "$filter_pid" || first_status=$?
    if [[ $ended == "$filter_pid" && $first_status == "$console_reader_gone" ]]; then
        say "nobody reads the text any more: the machine is turned off"
        exit 1
    fi
    qemu_status=0
    if [[ $ended == "$qemu_pid" ]]; then
        qemu_status=$first_status
        wait "$filter_pid" || true
    else
        wait "$qemu_pid" || qemu_status=$?
    fi
    qemu_pid='' filter_pid=''
}

# Gives everything back: no machine stays behind, the terminal is as it was.
# shellcheck disable=SC2317 # it is called, by the trap
clean_up() {
    trap '' INT TERM HUP
    if [[ -n ${qemu_pid:-} ]]; then
        kill -TERM "$qemu_pid" 2>/dev/null || true
        wait "$qemu_pid" 2>/dev/null || true
    fi
    [[ -z ${filter_pid:-} ]] || kill -TERM "$filter_pid" 2>/dev/null || true
    [[ -z ${terminal_state:-} ]] || stty "$terminal_state" <&3 2>/dev/null || true
    [[ -z ${scratch:-} ]] || rm -rf "$scratch"
}

# Of a text in the log.
unescaped() {
    local text=${1//\\\"/\"}
    printf '%s' "${text//\\\\/\\}"
}

# A model file that was given and not used is no failure, but the user wants to know.
tell_refusal() {
    [[ -n $model && $kernel_line != *--weights* ]] || return 0
    grep -aq '^model .*source=embedded' "$log" || return 0
    local reason
    reason=$(sed -n 's/^model_refused .*reason="\(.*\)".*/\1/p' "$log" | head -n 1)
    say "the model file was not used: $(unescaped "${reason:-the log does not say why}"); the embedded model wrote this"
}

# Says how it ended, and ends with the status that belongs to it.
conclude() {
    local last where="the log is $log"
    last=$(grep -a '^exit status=' "$log" | tail -n 1) || true
    case $qemu_status in
        "$status_success")
            tell_refusal
            exit 0
            ;;
        "$status_failure")
            last=${last#exit status=failed}
            last=${last# reason=\"}
            say "the kernel stopped: $(unescaped "${last%\"}")"
            ! grep -aq '^FAULT' "$log" || say "$(grep -a '^FAULT' "$log" | head -n 1)"
            fail "$where"
            ;;
        0)
            # Powered off by ACPI, or closed by a signal: only the kernel's last word tells whether it had finished.
            [[ $last != 'exit status=ok'* ]] || exit 0
            fail "the machine stopped without the kernel's last word (reset by a triple fault, or closed); $where"
            ;;
        "$status_timeout" | 137) fail "no end within $timeout s: the machine is turned off; $where" ;;
        *) fail "QEMU itself failed, with status $qemu_status; $where" ;;
    esac
}

# ------------------------------------------------------------------------------------------------ main
parse_options "$@"
if [[ $boot_from == iso ]]; then
    kernel=${kernel:-$build/bareflow.elf}
    [[ -f $kernel ]] || fail "there is no kernel $kernel; \`make kernel\` builds it"
else
    ((${#disks[@]} > 0)) || usage_error "--boot disk: give the disk too, with --disk IMG; \`make disk\` makes one"
    [[ -z $kernel ]] || usage_error "--boot disk: the disk has its own kernel; leave --kernel out"
fi
for tool in qemu-system-x86_64 perl setpriv timeout; do
    command -v "$tool" >/dev/null || fail "$tool is missing; \`make deps\` installs it"
done

# Debian has the windows in a package of their own.
if [[ $display == gtk || $display == sdl ]]; then
    qemu-system-x86_64 -display help | grep -qx "$display" ||
        fail "--display $display: this QEMU has no such window; install qemu-system-gui, or take --display vnc=127.0.0.1:0"
fi

interactive=false
if ! $has_prompt; then
    if [[ -t 0 ]]; then
        interactive=true
    elif [[ $display == none ]]; then
        # Nobody sits there: the first line of what is piped in, if any, is the prompt.
        IFS= read -r -t 1 prompt 2>/dev/null || true
        has_prompt=true
    fi
fi
! $has_prompt || to_kernel prompt "$prompt"
((${#kernel_line} < max_command_line)) ||
    usage_error "the options have ${#kernel_line} characters; the kernel reads $max_command_line"

prepare_model
check_disks
[[ $boot_from == iso ]] || check_boot_disk
choose_ram
prepare_image
choose_accelerator
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
scratch=$(mktemp -d)
printf '%s' "$kernel_line" >"$scratch/cmdline"
build_qemu_command
start_log
terminal_state=''
if $interactive; then terminal_state=$(stty -g); fi
start_machine
wait_for_machine
conclude
