#include "arch/routine_dump.h"

namespace bareflow {
namespace {

using State = RoutineCache::Entry::State;

void list_routines(const RoutineCache& routines, TextListener& out) {
    unsigned installed = 0;
    for (const RoutineCache::Entry& entry : routines.entries()) {
        if (entry.state != State::kInstalled) continue;
        if (out.stop_requested()) return;
        out.print("{:>7} bytes  {}\n", entry.bytes, name_of(entry.key).view());
        ++installed;
    }
    out.print("{} routines installed, {} slower than the reference here, {} rejected.{}\n", installed,
              routines.counts().slower, routines.counts().rejected,
              installed != 0 ? " /dump KEY shows one's code." : "");
}

void print_code(const RoutineCache::Entry& entry, TextListener& out) {
    constexpr uint32_t kBytesPerLine = 32;
    out.print("# {}: {} bytes, plan {}\n", name_of(entry.key).view(), entry.bytes,
              name_of(entry.plan).view());
    // The lines of nothing but hexadecimal digits, out of a saved terminal that may end its lines with CR LF.
    out.print(
        "# this text in FILE: tr -d '\\r' < FILE | grep -xE '[0-9a-f]+' | tr a-f A-F | tr -d '\\n' | "
        "basenc --base16 -d > CODE; "
        "objdump -D -b binary -m i386:x86-64 -M intel CODE\n");
    const auto* code = reinterpret_cast<const uint8_t*>(entry.code);
    for (uint32_t first = 0; first < entry.bytes; first += kBytesPerLine) {
        if (out.stop_requested()) return out.text("[stopped]\n");
        FixedString<2 * kBytesPerLine + 1> line;
        for (uint32_t i = first; i < entry.bytes && i < first + kBytesPerLine; ++i)
            line.append_format("{:02x}", code[i]);
        line.append("\n");
        out.text(line);
    }
}

std::string_view why_not(State state) {
    switch (state) {
        case State::kSlower:
            return "was made, but the reference is faster here and runs instead";
        case State::kQuarantined:
            return "was made and rejected; the log has a record routine_rejected";
        case State::kEvicted:
            return "had to make room for others, until it is wanted again";
        case State::kCold:
            return "was called once; it is made when it is called again";
        case State::kEmpty:
        case State::kInstalled:
            break;
    }
    return "";
}

}  // namespace

void dump_routines(const RoutineCache* routines, std::string_view key, TextListener& out) {
    if (routines == nullptr)
        return out.text("no routines: nothing is emitted with --jit off, --isa scalar, or on this CPU\n");
    if (key.empty()) return list_routines(*routines, out);
    Result<RoutineKey> wanted = parse_key(key);
    if (!wanted.ok()) return out.print("{}\n", wanted.error().message());
    for (const RoutineCache::Entry& entry : routines->entries()) {
        if (entry.state == State::kEmpty || !(entry.key == wanted.value())) continue;
        if (entry.state == State::kInstalled) return print_code(entry, out);
        return out.print("{} {}\n", key, why_not(entry.state));
    }
    out.print("there is no routine {}; /dump lists those there are (a story must have run)\n", key);
}

}  // namespace bareflow
