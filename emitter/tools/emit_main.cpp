// bareflow-emit: any routine as an object file, raw bytes or a listing; compared between assemblers; run and timed.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "arch/base/version.h"
#include "arch/host/host_platform.h"
#include "emitter/routine_emitter.h"
#include "emitter/tools/catalogue.h"
#include "emitter/tools/compare.h"
#include "emitter/tools/emit.h"
#include "emitter/tools/listing.h"
#include "emitter/tools/model_routines.h"
#include "emitter/tools/run_routine.h"
#include "model/tools/files.h"
#include "persist/tools/elf_object.h"

namespace bareflow {
namespace {

constexpr int kOk = 0, kFailed = 1, kUsage = 2;

struct Arguments {
    std::vector<std::string> keys;
    std::string plan, output, format, assembler = "tiny", isa, numerics, llama;
    bool all_isas = false, list = false, compare = false, run = false;
};

void declare(CLI::App& app, Arguments& arguments) {
    app.set_version_flag("--version", "bareflow-emit " + std::string(kVersion));
    app.add_option("KEY", arguments.keys, "what to emit, such as project_1x2048x2048_f32_fma_avx2");
    app.add_option("--plan", arguments.plan, "how, such as panels=4,unroll=8; default: the emitter chooses")
        ->option_text("FIELD=N[,FIELD=N]");
    app.add_option("-o,--output", arguments.output, "file to write; default: standard output")
        ->option_text("FILE");
    app.add_option("--format", arguments.format,
                   "listing: for people; elf: an object file; raw: the bytes; hex: as /dump has them")
        ->check(CLI::IsMember({"elf", "raw", "listing", "hex"}))
        ->option_text("elf|raw|listing|hex [listing; with -o elf]");
    app.add_option("--assembler", arguments.assembler, "what encodes it")
        ->check(CLI::IsMember({"tiny", "asmjit", "xbyak"}))
        ->option_text("tiny|asmjit|xbyak [tiny]");
    app.add_option("--isa", arguments.isa,
                   "for this ISA instead of the key's, which need not be this machine's")
        ->check(CLI::IsMember({"sse2", "avx2", "avx512"}))
        ->option_text("sse2|ssse3|avx2|avx2words|avxvnni|avx512|avx512vnni");
    app.add_option("--numerics", arguments.numerics, "in this class instead of the key's")
        ->check(CLI::IsMember({"fma", "muladd"}))
        ->option_text("fma|muladd");
    app.add_flag("--all-isas", arguments.all_isas,
                 "each key for every ISA and class that there is a routine for");
    app.add_flag("--list", arguments.list, "what can be emitted: operations, sizes, types, plans");
    app.add_flag("--compare", arguments.compare, "all assemblers side by side, and the first difference");
    app.add_flag("--run", arguments.run, "run on this CPU: check against the reference, and time");
    app.add_option("--llama", arguments.llama,
                   "every routine that this model needs, as a table; -o writes them")
        ->option_text("FILE|DIR");
}

/// What makes the command itself wrong: exit status 2.
struct UsageError : std::runtime_error {
    using std::runtime_error::runtime_error;
};
template <typename T>
T value_or_usage(Result<T> result) {
    if (!result.ok()) throw UsageError(std::string(result.error().message()));
    return result.take();
}
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};
template <typename T>
T value_or_failure(Result<T> result) {
    if (!result.ok()) throw Failure(std::string(result.error().message()));
    return result.take();
}

template <typename T, size_t count>
T named(const T (&all)[count], std::string_view name) {
    for (const T each : all) {
        if (name_of(each) == name) return each;
    }
    throw UsageError("there is no " + std::string(name));
}

/// The key with --isa and --numerics in it; or for all ISAs and classes.
void add_variants(RoutineKey key, const Arguments& arguments, std::vector<RoutineKey>& keys) {
    if (!arguments.numerics.empty()) key.numerics = named(kNumericClasses, arguments.numerics);
    if (!arguments.isa.empty()) key.isa = named(kIsas, arguments.isa);
    if (!arguments.all_isas) return keys.push_back(key);
    for (const Isa isa : kIsas) {
        for (const NumericClass numerics : kNumericClasses) {
            const bool class_is_wanted = arguments.numerics.empty() || numerics == key.numerics;
            const bool isa_is_wanted = arguments.isa.empty() || isa == key.isa;
            RoutineKey variant = key;
            variant.isa = isa;
            variant.numerics = numerics;
            if (class_is_wanted && isa_is_wanted && can_emit(variant)) keys.push_back(variant);
        }
    }
}

/// A model names no ISA and class: this machine's best, else what was asked for.
std::vector<RoutineKey> model_keys(const Arguments& arguments) {
    const CpuFeatures cpu = cpu_detect_features(HostCpuid());
    const bool without_fma = arguments.isa.empty() ? !cpu.fma : arguments.isa == "sse2";
    const NumericClass numerics = without_fma ? NumericClass::kMulAdd : NumericClass::kFma;
    const Isa best = best_isa(cpu, numerics);
    // Keys are noted for an ISA that has a routine for each of them.
    return value_or_failure(
        keys_of_model(arguments.llama, numerics, arguments.isa.empty() ? best : named(kIsas, arguments.isa)));
}

std::vector<RoutineKey> wanted_keys(const Arguments& arguments) {
    std::vector<RoutineKey> keys;
    for (const std::string& text : arguments.keys)
        add_variants(value_or_usage(parse_key(text)), arguments, keys);
    if (!arguments.llama.empty()) {
        for (const RoutineKey& key : model_keys(arguments)) add_variants(key, arguments, keys);
    }
    if (keys.empty()) throw UsageError("no routine to emit for any ISA; --list shows what there is");
    return keys;
}

/// Fields of the plan that did not fit are said, not silently changed.
void tell_changes(const EmittedRoutine& routine, const Plan& wanted) {
    Plan asked = complete_plan(routine.key, {});
    if (wanted.panels != 0) asked.panels = wanted.panels;
    if (wanted.rows != 0) asked.rows = wanted.rows;
    if (wanted.unroll != 0) asked.unroll = wanted.unroll;
    if (wanted.vector_bytes != 0) asked.vector_bytes = wanted.vector_bytes;
    const Plan& plan = routine.plan;
    const bool lowered = plan.vector_bytes != asked.vector_bytes ||
                         (wanted.panels != 0 && plan.panels != asked.panels) ||
                         (wanted.rows != 0 && plan.rows != asked.rows) || plan.unroll != asked.unroll;
    if (lowered)
        std::cerr << "bareflow-emit: note: " << routine.name() << " takes the plan " << name_of(plan).view()
                  << ", the nearest to yours that fits it\n";
}

std::string hex_lines(const std::vector<uint8_t>& code) {
    constexpr size_t kBytesPerLine = 32;
    std::string text;
    for (size_t i = 0; i < code.size(); ++i) {
        text += FixedString<2>::formatted("{:02x}", code[i]).view();
        if (i % kBytesPerLine == kBytesPerLine - 1 || i + 1 == code.size()) text += '\n';
    }
    return text;
}

std::string object_of(const std::vector<EmittedRoutine>& routines) {
    std::vector<ObjectFunction> functions;
    for (const EmittedRoutine& routine : routines) {
        ObjectFunction function{routine.name(), {routine.code.data(), routine.code.size()}, {}};
        for (const DataRange& data : routine.annotations.data)
            function.data.push_back({data.offset, data.size});
        functions.push_back(std::move(function));
    }
    const std::vector<uint8_t> bytes = value_or_usage(elf_object(functions));
    return {bytes.begin(), bytes.end()};
}

std::string document(const std::vector<EmittedRoutine>& routines, const std::string& format,
                     const Arguments& arguments) {
    if (format == "elf") return object_of(routines);
    if (format == "raw") return {routines[0].code.begin(), routines[0].code.end()};
    std::ostringstream out;
    for (const EmittedRoutine& routine : routines) {
        if (&routine != &routines[0]) out << '\n';
        if (format == "hex") {
            out << "# " << routine.name() << ": " << routine.code.size() << " bytes, plan "
                << name_of(routine.plan).view() << '\n'
                << hex_lines(routine.code);
        } else {
            print_listing(routine, arguments.assembler, out);
        }
    }
    return out.str();
}

void write_document(const std::string& bytes, const std::string& path) {
    if (path.empty()) {
        std::cout << bytes;
        return;
    }
    ReplacementFile file = value_or_failure(ReplacementFile::create(path));
    FileWriter writer(file.fd(), path);
    const auto done = writer.write_at(0, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    if (!done.ok()) throw Failure(std::string(done.error().message()));
    if (const auto committed = file.commit(); !committed.ok())
        throw Failure(std::string(committed.error().message()));
}

void print_table(const std::vector<EmittedRoutine>& routines, std::ostream& out) {
    size_t total = 0;
    double microseconds = 0;
    out << FixedString<200>::formatted("{:<48} {:<48} {:>6} {:>8}\n", "key", "plan", "bytes", "us").view();
    for (const EmittedRoutine& routine : routines) {
        out << FixedString<200>::formatted("{:<48} {:<48} {:>6} {:>8.1}\n", routine.name(),
                                           name_of(routine.plan).view(), routine.code.size(),
                                           routine.microseconds)
                   .view();
        total += routine.code.size();
        microseconds += routine.microseconds;
    }
    out << FixedString<200>::formatted("{} routines, {} bytes, {:.1} us to emit\n", routines.size(), total,
                                       microseconds)
               .view();
}

void check_combination(const Arguments& arguments, const std::string& format, size_t routines) {
    const bool binary = format == "elf" || format == "raw";
    if (arguments.compare && arguments.run) throw UsageError("--compare and --run are two things; give one");
    if ((arguments.compare || arguments.run) && (!arguments.output.empty() || !arguments.format.empty()))
        throw UsageError("--compare and --run write no routine; leave -o and --format out");
    if (format == "raw" && routines != 1)
        throw UsageError("raw bytes are those of one routine, and these are " + std::to_string(routines) +
                         "; take --format elf");
    if (binary && arguments.output.empty() && isatty(STDOUT_FILENO))
        throw UsageError("--format " + format + " is not for a terminal; give -o FILE");
}

int emit_all(const Arguments& arguments) {
    const Plan plan = value_or_usage(parse_plan(arguments.plan));
    const std::vector<RoutineKey> keys = wanted_keys(arguments);
    const bool only_table = !arguments.llama.empty() && arguments.output.empty() && arguments.format.empty();
    const std::string format = !arguments.format.empty()  ? arguments.format
                               : arguments.output.empty() ? "listing"
                                                          : "elf";
    check_combination(arguments, format, keys.size());
    std::vector<EmittedRoutine> routines;
    for (const RoutineKey& key : keys) {
        routines.push_back(value_or_usage(emit(key, plan, *maker_named(arguments.assembler))));
        tell_changes(routines.back(), plan);
    }
    bool good = true;
    if (arguments.compare) {
        for (const RoutineKey& key : keys) good = compare_assemblers(key, plan, std::cout) && good;
    } else if (arguments.run) {
        for (const EmittedRoutine& routine : routines) {
            const Result<void> done = run_routine(routine, std::cout);
            if (!done.ok()) std::cerr << "bareflow-emit: " << done.error().message() << '\n';
            good = good && done.ok();
        }
    } else {
        if (!only_table) write_document(document(routines, format, arguments), arguments.output);
        const bool document_on_stdout = !only_table && arguments.output.empty();
        if (!arguments.llama.empty()) print_table(routines, document_on_stdout ? std::cerr : std::cout);
    }
    return good ? kOk : kFailed;
}

int run(int argc, char** argv) {
    CLI::App app("Emits routines, BareFlow's machine code for exact shapes, for people and tools to look at.",
                 "bareflow-emit");
    Arguments arguments;
    declare(app, arguments);
    try {
        app.parse(argc, argv);
        if (!arguments.list && arguments.keys.empty() && arguments.llama.empty())
            throw CLI::RequiredError("KEY, --llama or --list");
    } catch (const CLI::ParseError& error) {
        return app.exit(error, std::cout, std::cerr) == 0 ? kOk : kUsage;
    }
    if (arguments.list) {
        print_catalogue(std::cout);
        return kOk;
    }
    return emit_all(arguments);
}

}  // namespace
}  // namespace bareflow

int main(int argc, char** argv) {
    using namespace bareflow;
    try {
        const int status = run(argc, argv);
        if (!std::cout.flush()) {
            std::cerr << "bareflow-emit: standard output cannot be written\n";
            return kFailed;
        }
        return status;
    } catch (const UsageError& error) {
        std::cerr << "bareflow-emit: " << error.what() << '\n';
        return kUsage;
    } catch (const std::exception& error) {
        std::cerr << "bareflow-emit: " << error.what() << '\n';
        return kFailed;
    }
}
