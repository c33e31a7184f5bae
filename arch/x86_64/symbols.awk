# Reads `nm -nC --defined-only KERNEL`, writes the symbol table of arch/x86_64/symbols.cpp as assembly.
# Of a name neither parameters nor the types before it are kept: a report wants to say where, not to be parsed.
function shortened(name) {
    gsub(/\(anonymous namespace\)::/, "", name)
    gsub(/\(\*\)\([^()]*\)/, "", name)
    sub(/\(.*$/, "", name)
    if (name !~ /(^|::)operator/) {
        while (gsub(/<[^<>]*>/, "", name)) continue
        sub(/^.* /, "", name)
        sub(/<.*$/, "", name)
    }
    gsub(/bareflow::|_abi_[0-9_]*::/, "", name)
    gsub(/["\\]/, "", name)
    return substr(name, 1, 80)
}
BEGIN { count = 0 }
$3 == "__image_start" { start = $1 }
$2 ~ /^[tTwW]$/ {
    address = $1
    name = $0
    sub(/^[0-9a-f]+ . /, "", name)
    if (name ~ /^(__text_start|__text_end|__image_start)$/) next
    if (address == last) next
    last = address
    addresses[count] = address
    names[count++] = shortened(name)
}
END {
    print "    .section .symbols, \"a\""
    for (i = 0; i < count; i++) {
        print "    .uleb128 0x" addresses[i] " - 0x" (i ? addresses[i - 1] : start)
        print "    .asciz \"" names[i] "\""
    }
}
