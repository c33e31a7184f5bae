#include "persist/tools/snap.h"

#include <unistd.h>
#include <ctime>
#include <map>

#include <CLI/CLI.hpp>

#include "arch/base/version.h"
#include "persist/tools/elf_object.h"

namespace bareflow {
namespace {

using namespace snapshot;

constexpr int kOk = 0, kFailed = 1, kUsage = 2;

template <typename... Arguments>
void print(std::ostream& out, const char* pattern, const Arguments&... arguments) {
    out << FixedString<400>::formatted(pattern, arguments...).view();
}

std::string hex(ByteSpan bytes) {
    std::string text;
    for (const uint8_t byte : bytes) text += FixedString<2>::formatted("{:02x}", byte).view();
    return text;
}

std::string time_text(uint64_t seconds) {
    const auto time = static_cast<time_t>(seconds);
    std::tm utc;
    char text[40];
    if (seconds == 0 || seconds > INT64_MAX / 2 || gmtime_r(&time, &utc) == nullptr)
        return "at an unknown time";
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return text;
}

std::string_view name_of_state(RoutineState state) {
    constexpr std::string_view kNames[] = {"installed", "slower", "quarantined"};
    const auto index = static_cast<size_t>(state);
    return index < std::size(kNames) ? kNames[index] : "?";
}

std::string name_of_entry(const RoutineKey& key, std::string_view kind, uint32_t index) {
    if (is_sound(key)) return std::string(name_of(key).view());
    return std::string(kind) + " " + std::to_string(index);
}

void list_header(const SnapshotFile& file, std::ostream& out) {
    const Header& h = file.header();
    print(out, "{}: generation {}, {} boots, written {}, stage {}\n", file.path(), h.generation, h.boot_count,
          time_text(h.timestamp), name_of(h.stage));
    print(out, "  build      {}, emitter {}, abi {}\n", hex(h.build_id), h.emitter_version, h.abi_version);
    print(out, "  model      {:08x}, {} bytes; numerics {}, quantised weights for {}\n", h.model_crc32c,
          h.model_bytes, name_of(h.numerics), name_of(h.quantised_isa));
    print(out, "  needs      {}\n", describe(features_of_bits(h.required_features)).view());
    print(out, "  payload    {} bytes: {} routines of {} bytes, {} plans, {} rows of profile, {} boots\n",
          h.payload_bytes, h.routines, h.code_bytes, h.plans, h.profiles, h.boot_records);
    print(out, "  since      {} boots began from it, the last {} did not end well\n", file.mark().boots,
          file.mark().unclean);
}

/// What two snapshots have in common, and not, by name.
using Entries = std::map<std::string, std::string>;

Entries routine_entries(const SnapshotFile& file) {
    Entries entries;
    for (uint32_t i = 0; i < file.view().routines(); ++i) {
        const StoredRoutine r = file.view().routine(i);
        std::string text = std::string(name_of_state(r.state)) + " " + std::string(name_of(r.plan).view()) +
                           " " + std::to_string(r.code_bytes) + " bytes, crc " +
                           std::string(FixedString<8>::formatted("{:08x}", r.code_crc32c).view());
        entries[name_of_entry(r.key, "routine", i)] = std::move(text);
    }
    return entries;
}
Entries plan_entries(const SnapshotFile& file) {
    Entries entries;
    for (uint32_t i = 0; i < file.view().plans(); ++i) {
        const StoredPlan p = file.view().plan(i);
        entries[name_of_entry(p.key, "plan", i) + " " + std::string(name_of(p.plan).view())] =
            "verdict " + std::to_string(p.verdict) + ", " + std::to_string(p.median_ns) + " ns";
    }
    return entries;
}
Entries header_entries(const SnapshotFile& file) {
    const Header& h = file.header();
    return {{"generation", std::to_string(h.generation)},
            {"boot_count", std::to_string(h.boot_count)},
            {"build", hex(h.build_id)},
            {"emitter", std::to_string(h.emitter_version)},
            {"abi", std::to_string(h.abi_version)},
            {"model", std::to_string(h.model_crc32c) + "/" + std::to_string(h.model_bytes)},
            {"numerics", std::string(name_of(h.numerics))},
            {"stage", std::string(name_of(h.stage))},
            {"needs", std::string(describe(features_of_bits(h.required_features)).view())}};
}

unsigned diff_entries(std::string_view kind, const Entries& a, const Entries& b, std::ostream& out) {
    unsigned differences = 0;
    for (const auto& [name, text] : a) {
        const auto other = b.find(name);
        if (other == b.end()) {
            out << "- " << kind << ' ' << name << ": " << text << '\n';
        } else if (other->second != text) {
            out << "~ " << kind << ' ' << name << ": " << text << " -> " << other->second << '\n';
        } else {
            continue;
        }
        ++differences;
    }
    for (const auto& [name, text] : b) {
        if (a.contains(name)) continue;
        out << "+ " << kind << ' ' << name << ": " << text << '\n';
        ++differences;
    }
    return differences;
}

}  // namespace

void list_snapshot(const SnapshotFile& file, std::ostream& out) {
    const SnapshotView& view = file.view();
    list_header(file, out);
    print(out, "\n{:<48} {:<11} {:>6} {:>10} {:>10}  {}\n", "routine", "state", "bytes", "median ns",
          "spread ns", "plan");
    for (uint32_t i = 0; i < view.routines(); ++i) {
        const StoredRoutine r = view.routine(i);
        const SnapshotRefusal refusal = file.check(r);
        print(out, "{:<48} {:<11} {:>6} {:>10} {:>10}  {}{}{}\n", name_of_entry(r.key, "routine", i),
              name_of_state(r.state), r.code_bytes, r.median_ns, r.spread_ns, name_of(r.plan).view(),
              refusal == SnapshotRefusal::kNone ? "" : "  REFUSED: ",
              refusal == SnapshotRefusal::kNone ? "" : name_of(refusal));
    }
    print(out, "\n{:>6} {:>9} {:>9} {:>9} {:>12} {:>9} {:>9} {:>12}\n", "boot", "restored", "compiled",
          "rejected", "plans tried", "left", "explored", "ms/token");
    for (uint32_t i = 0; i < view.boots(); ++i) {
        const StoredBoot b = view.boot(i);
        print(out, "{:>6} {:>9} {:>9} {:>9} {:>12} {:>9} {:>8.1}% {:>12.3}\n", b.boot, b.restored, b.compiled,
              b.rejected, b.plans_tried, b.plans_left, static_cast<double>(b.explored_permille) / 10,
              static_cast<double>(b.ns_per_token) * 1e-6);
    }
}

unsigned check_snapshot(const SnapshotFile& file, std::ostream& out) {
    const SnapshotView& view = file.view();
    unsigned refused = 0;
    const auto note = [&](SnapshotRefusal refusal, const std::string& name) {
        if (refusal == SnapshotRefusal::kNone) return;
        out << file.path() << ": " << name << ": " << name_of(refusal) << '\n';
        ++refused;
    };
    for (uint32_t i = 0; i < view.routines(); ++i)
        note(file.check(view.routine(i)), name_of_entry(view.routine(i).key, "routine", i));
    for (uint32_t i = 0; i < view.plans(); ++i)
        note(view.check(view.plan(i)), name_of_entry(view.plan(i).key, "plan", i));
    for (uint32_t i = 0; i < view.profiles(); ++i)
        note(view.check(view.profile(i)), "profile " + std::to_string(i));
    print(out, "{}: {} routines, {} plans, {} rows of profile; {} refused\n", file.path(), view.routines(),
          view.plans(), view.profiles(), refused);
    return refused;
}

unsigned diff_snapshots(const SnapshotFile& a, const SnapshotFile& b, std::ostream& out) {
    return diff_entries("header", header_entries(a), header_entries(b), out) +
           diff_entries("routine", routine_entries(a), routine_entries(b), out) +
           diff_entries("plan", plan_entries(a), plan_entries(b), out);
}

Result<std::vector<uint8_t>> extract_routines(const SnapshotFile& file, const std::string& key) {
    std::vector<ObjectFunction> functions;
    for (uint32_t i = 0; i < file.view().routines(); ++i) {
        const StoredRoutine r = file.view().routine(i);
        const std::string name = name_of_entry(r.key, "routine", i);
        if (!key.empty() && name != key) continue;
        const SnapshotRefusal refusal = file.view().check(r, ~uint64_t{0});
        if (refusal == SnapshotRefusal::kNone && r.state == RoutineState::kInstalled) {
            functions.push_back({name, file.view().code(r), {}});
        } else if (!key.empty()) {
            return invalid("{}: {} has no code: {}", file.path(), name,
                           refusal == SnapshotRefusal::kNone ? name_of_state(r.state) : name_of(refusal));
        }
    }
    if (functions.empty())
        return Error::make(ErrorCode::kNotFound,
                           "{}: there is no routine {}; bareflow-snap list {} shows what there is",
                           file.path(), key.empty() ? "with code" : key, file.path());
    return elf_object(functions);
}

namespace {

struct Arguments {
    std::string file, other, key, output;
    bool all = false;
};

Result<void> write_file(const std::string& path, const std::vector<uint8_t>& bytes) {
    ReplacementFile file = TRY(ReplacementFile::create(path));
    TRY(FileWriter(file.fd(), path).write_at(0, bytes));
    return file.commit();
}

/// The number of differences or refusals; an error if the work could not be done.
Result<unsigned> work(const CLI::App& app, const Arguments& arguments, std::ostream& out) {
    const SnapshotFile file = TRY(SnapshotFile::open(arguments.file));
    if (app.got_subcommand("check")) return check_snapshot(file, out);
    if (app.got_subcommand("diff")) {
        const SnapshotFile other = TRY(SnapshotFile::open(arguments.other));
        return diff_snapshots(file, other, out);
    }
    if (app.got_subcommand("extract")) {
        const std::vector<uint8_t> object = TRY(extract_routines(file, arguments.key));
        TRY(write_file(arguments.output, object));
    } else {
        list_snapshot(file, out);
    }
    return 0u;
}

void declare(CLI::App& app, Arguments& arguments) {
    app.set_version_flag("--version", "bareflow-snap " + std::string(kVersion));
    app.require_subcommand(1);
    const auto add_file = [&](CLI::App* command) {
        command->add_option("FILE", arguments.file, "a slot, such as SNAPA.BIN copied from the disk")
            ->required()
            ->option_text(" ");
    };
    add_file(app.add_subcommand("list", "what it holds: routines, plans, history of boots"));
    add_file(app.add_subcommand("check", "reads it as the kernel does, and tells what would be refused"));
    CLI::App* diff =
        app.add_subcommand("diff", "what the second has other than the first; status 1 if anything");
    add_file(diff);
    diff->add_option("OTHER", arguments.other, "another slot")->required()->option_text(" ");
    CLI::App* extract =
        app.add_subcommand("extract", "its machine code as an object file for objdump, nm, gdb");
    add_file(extract);
    auto* key =
        extract->add_option("KEY", arguments.key, "the routine, such as project_1x2048x2048_f32_fma_avx2")
            ->option_text(" ");
    extract->add_flag("--all", arguments.all, "every routine")->excludes(key);
    extract->add_option("-o,--output", arguments.output, "file to write; replaced if it is there")
        ->required()
        ->option_text("OUT.o");
}

}  // namespace

int run_snap(int argc, const char* const* argv, std::ostream& out, std::ostream& errors) {
    CLI::App app("Shows and checks BareFlow's snapshots: what one boot left to the next.", "bareflow-snap");
    Arguments arguments;
    declare(app, arguments);
    try {
        app.parse(argc, argv);
        if (app.got_subcommand("extract") && arguments.key.empty() && !arguments.all)
            throw CLI::RequiredError("KEY or --all");
    } catch (const CLI::ParseError& error) {
        return app.exit(error, out, errors) == 0 ? kOk : kUsage;
    }
    const Result<unsigned> found = work(app, arguments, out);
    if (found.ok()) return found.value() == 0 ? kOk : kFailed;
    errors << "bareflow-snap: " << found.error().message() << '\n';
    return kFailed;
}

}  // namespace bareflow
