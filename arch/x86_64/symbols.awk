# Reads `nm -nC --defined-only KERNEL`, writes the symbol table of arch/x86_64/symbols.cpp as assembly.
# Names are cut at their parameter list: a report wants to say where, not to be parsed.
function shortened(name) {
    gsub(/\(anonymous namespace\)::/, "", name)
    sub(/^bareflow::/, "", name)
    sub(/ \[clone .*$/, "", name)
    sub(/\(.*$/, "", name)
    gsub(/["\\]/, "", name)
    return substr(name, 1, 80)
}
$3 == "__text_start" { text = $1 }
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
    print "    .section .symbols, \"a\"\n    .long " count + 0 ", names_end - names"
    for (i = 0; i < count; i++) print "    .long 0x" addresses[i] " - 0x" text ", name" i " - names"
    print "names:"
    for (i = 0; i < count; i++) print "name" i ": .asciz \"" names[i] "\""
    print "names_end:"
}
