#!/usr/bin/env bash
# Bytes of the kernel by room and by symbol: size_report.sh KERNEL.debug.elf
set -euo pipefail
kernel=$1

echo "sections of $kernel, bytes"
size -A "$kernel" | awk '$2 > 0 && $1 ~ /^\./ && $1 !~ /^\.debug/ { printf "  %-10s %9d\n", $1, $2 }'

echo "code and constants by room, bytes"
nm -t d -S -l --defined-only "$kernel" 2>/dev/null | awk '
    NF >= 4 && $3 ~ /^[tTwWrRdD]$/ {
        room = "other (libm, asm)"
        if (match($0, /\/(arch\/base|arch\/x86_64|arch|mm|emitter|model|profiler|persist|tests)\/[^\/]*:[0-9]+$/))
            { room = substr($0, RSTART + 1); sub(/\/[^\/]*$/, "", room) }
        bytes[room] += $2
    }
    END { for (room in bytes) printf "  %-20s %9d\n", room, bytes[room] }' | sort -k2 -nr -t$'\t'

echo "the emitter by assembler, bytes of code and constants"
nm -t d -SC --defined-only "$kernel" 2>/dev/null | awk '
    function add(name) { bytes[name] += $2 }
    NF < 4 || $3 !~ /^[tTwWrRdDV]$/ { next }
    /Code<bareflow::x86|Routine<bareflow::x86|Sums<bareflow::x86|HalfCode|half_code|ConstantPool<|SharedLanes<|emit_routine|emit_exponential|emit_silu/ {
        add(/AsmjitAssembler/ ? "generators, by asmjit" : "generators, by tiny"); next
    }
    /TinyAssembler|LabelTable|TinyMaker/ { add("tiny"); next }
    /[Aa]smjit/ { add("asmjit"); next }
    END { for (name in bytes) printf "  %-24s %9d\n", name, bytes[name] }' | sort

echo "largest symbols, bytes"
nm -t d -SC --size-sort -r --defined-only "$kernel" |
    awk 'NR > 20 { next } { size = $2; $1 = $2 = $3 = ""; printf "  %9d %s\n", size, $0 }'
