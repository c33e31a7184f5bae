#include "emitter/tools/catalogue.h"

#include "arch/host/host_platform.h"
#include "emitter/routine_emitter.h"
#include "emitter/tools/emit.h"

namespace bareflow {
namespace {

template <typename... Arguments>
void print(std::ostream& out, const char* pattern, const Arguments&... arguments) {
    out << FixedString<300>::formatted(pattern, arguments...).view();
}

template <typename T, size_t count>
void print_names(std::ostream& out, std::string_view title, const T (&all)[count]) {
    print(out, "{:<12}", title);
    for (const T each : all) print(out, " {}", name_of(each));
    print(out, "\n");
}

/// The largest value of a size with which there still is a generator, all else as in the example: a power of two and a
/// multiple of what the example has, found by doubling.
uint64_t largest_size(RoutineKey key, const SizeNaming& size) {
    uint64_t largest = 0;
    for (uint64_t value = key.*size.field; value <= UINT32_MAX; value *= 2) {
        key.*size.field = static_cast<uint32_t>(value);
        if (can_emit(key)) largest = value;
    }
    return largest;
}

void print_operation(std::ostream& out, const OperationNaming& naming) {
    const RoutineKey example = parse_key(naming.example).take();
    RoutineKey adding = example;
    adding.epilogue = Epilogue::kAdd;
    const bool adds = naming.has_weights && can_emit(adding);
    print(out, "  {}_{}{}{}{}_CLASS_ISA\n", name_of(naming.operation), naming.sizes,
          naming.has_eps ? "[_eps…]" : "", adds ? "[_add]" : "",
          naming.has_weights ? "_TYPE"
          : naming.has_cache ? "[_f16]"
                             : "");
    if (!can_emit(example)) return print(out, "      no generator yet: the reference runs it\n");
    print(out, "      e.g. {}\n      epilogues: store{}\n", naming.example,
          adds ? ", add (to what y holds)" : "");
    for (const SizeNaming& size : size_namings()) {
        if (naming.sizes.find(size.letter) == std::string_view::npos) continue;
        print(out, "      {:c}  {}, up to {} with the example's others\n", size.letter, size.meaning,
              largest_size(example, size));
    }
}

}  // namespace

void print_catalogue(std::ostream& out) {
    print(out, "Keys: OPERATION_SIZES[_eps…][_add][_TYPE]_CLASS_ISA\n\n");
    for (const OperationNaming& naming : operation_namings()) print_operation(out, naming);
    print(out, "\n");
    print_names(out, "types", kElementTypes);
    print_names(out, "classes", kNumericClasses);
    print(out, "{:<12}", "ISAs");
    for (const Isa isa : kIsas) {
        if (isa != Isa::kScalar) print(out, " {}", name_of(isa));
    }
    const CpuFeatures cpu = cpu_detect_features(HostCpuid());
    print(out, "   (this CPU runs");
    for (const Isa isa : kIsas) {
        const bool runs = runs_on(cpu, isa, NumericClass::kFma) || runs_on(cpu, isa, NumericClass::kMulAdd);
        if (isa != Isa::kScalar && runs) print(out, " {}", name_of(isa));
    }
    print(out, ")\n{:<12}", "assemblers");
    for (RoutineMaker* maker : all_makers()) print(out, " {}", maker->name());
    print(
        out,
        "\neps          1e-5 is not written; _eps1em6 is 1e-6; _epsx3727c5ac is the float of these bits\n"
        "\nPlans: FIELD=VALUE,… ; what is 0 or left out the emitter chooses, what does not fit it lowers\n");
    for (const PlanField& field : plan_fields())
        print(out, "  {:<10} 0 to {:<6} {}\n", field.name, field.largest, field.meaning);
}

}  // namespace bareflow
