#include "arch/routine_native.h"

#include "arch/routine_choice.h"
#include "model/reference.h"

namespace bareflow {
namespace {

using enum SnapshotRefusal;

/// Counts the calls that have a routine, and those that have none.
class Census final : public RoutineVisitor {
 public:
    explicit Census(NativeRoutines& routines) : routines_(routines) {}
    bool has_routine(const RoutineKey& key) const override {
        const bool found = routines_.find(key) != nullptr;
        missing += !found;
        return found;
    }
    void visit(const RoutineKey&, const void*) override {}

    mutable uint32_t missing = 0;

 private:
    NativeRoutines& routines_;
};

}  // namespace

// ---- the table
uint32_t NativeRoutines::place_of(const RoutineKey& key) const {
    const auto hash = static_cast<uint32_t>(hash_of(key));
    for (uint32_t i = 0;; ++i) {  // it is half empty
        const uint32_t place = (hash + i) % kPlaces;
        if (index_[place] == 0 || segment_.entry(index_[place] - 1u).key == key) return place;
    }
}

SnapshotRefusal NativeRoutines::open(ByteSpan segment) {
    close();
    const SnapshotRefusal refusal = segment_.open(segment);
    if (refusal != kNone) return refusal;
    for (uint16_t& place : index_) place = 0;
    for (uint32_t i = 0; i < segment_.count(); ++i) {
        uint16_t& place = index_[place_of(segment_.entry(i).key)];
        if (place == 0) place = static_cast<uint16_t>(i + 1);
    }
    count_ = segment_.count();
    return kNone;
}

Routine NativeRoutines::find(const RoutineKey& key) {
    if (count_ == 0) return nullptr;
    const uint16_t number = index_[place_of(key)];
    if (number == 0) return nullptr;
    const ByteSpan code = segment_.code(segment_.entry(number - 1u));
    return reinterpret_cast<Routine>(reinterpret_cast<uintptr_t>(code.data()));
}

bool NativeRoutines::find_code(uint64_t address, FixedString<96>& name, uint64_t& offset) const {
    for (uint32_t i = 0; i < count_; ++i) {
        const ByteSpan code = segment_.code(segment_.entry(i));
        const uint64_t start = reinterpret_cast<uintptr_t>(code.data());
        if (address < start || address >= start + code.size()) continue;
        name = FixedString<96>::formatted("native routine {}", i);
        offset = address - start;
        return true;
    }
    return false;
}

// ---- the service
NativeService::~NativeService() {
    if (platform_ != nullptr) platform_->set_code_directory(nullptr);
}

std::string_view NativeService::refusal(const Options& options) const {
    const NativeHeader& header = routines_.header();
    const ByteSpan build = platform_->build_id();
    if (build.size() != sizeof header.build_id ||
        __builtin_memcmp(build.data(), header.build_id.data(), build.size()) != 0)
        return name_of(kBuild);
    if (header.abi_version != kRoutineAbi) return name_of(kAbi);
    if ((header.required_features & ~feature_bits(platform_->cpu())) != 0) return name_of(kFeatures);
    const bool wants_fma = options.numerics == NumericsChoice::kFma,
               wants_muladd = options.numerics == NumericsChoice::kMulAdd;
    if (header.numerics == NumericClass::kFma ? wants_muladd : wants_fma) return name_of(kNumerics);
    if (!options.jit || !allows(options.isa, header.quantised_isa)) return "options";
    return {};
}

void NativeService::log_refusal(std::string_view reason) {
    routines_.close();
    LogRecord(platform_->log(), "native_refused").field("reason", reason);
}

Result<Operators*> NativeService::start(Platform& platform, const Options& options) {
    const SnapshotRefusal opened = routines_.open(platform.native_segment());
    const CpuFeatures& cpu = platform.cpu();
    NumericClass numerics = choose_numerics(options, cpu);
    platform_ = &platform;
    if (opened != kNone) {
        log_refusal(name_of(opened));
    } else {
        // Even without its routines the image writes as they did, where the machine and the user let it.
        const bool can = routines_.header().numerics == NumericClass::kMulAdd || cpu.fma;
        const bool is_free = options.numerics == NumericsChoice::kAuto && allows(options.isa, Isa::kAvx2);
        if (can && is_free) numerics = routines_.header().numerics;
        if (const std::string_view reason = refusal(options); !reason.empty()) log_refusal(reason);
    }
    Operators* reference = TRY(reference_operators(numerics, cpu));
    const bool native = routines_.count() != 0;
    const RoutineIsas isas =
        native ? RoutineIsas(routines_.header().isa, routines_.header().quantised_isa) : Isa::kScalar;
    LogRecord(platform.log(), "path")
        .field("isa", name_of(isas.floats))
        .field("quantised_isa", name_of(isas.quantised))
        .field("numerics", name_of(numerics))
        .field("assembler", "none");
    workers_ = start_cores(platform, options.threads);
    if (native) {
        platform.set_code_directory(&routines_);
        operators_.emplace(routines_, *reference, isas, platform.allocator(), workers_);
    } else if (workers_ != nullptr) {
        operators_.emplace(*reference, workers_);
    } else {
        return reference;
    }
    return static_cast<Operators*>(&*operators_);
}

void NativeService::prepare(Session& session) {
    if (routines_.count() == 0) return;
    const NativeHeader& header = routines_.header();
    const Weights& weights = session.weights();
    if (header.model_bytes != weights.file_size || header.model_crc32c != weights.hash)
        return log_refusal(name_of(kModel));
    choose_cores(session, workers_ == nullptr ? 1 : workers_->count());
}

void NativeService::choose_cores(Session& session, unsigned cores) {
    const RoutineIsas isas = operators_->isas();
    uint32_t least = UINT32_MAX;
    for (unsigned count = cores; count >= 1 && least != 0; --count) {
        Census census(routines_);
        NoOperators nothing(operators_->numeric_class());
        RoutineOperators shown(census, nothing, isas, workers_);
        shown.share_among(count);
        session.show_calls(shown, 1);
        if (census.missing >= least) continue;
        least = census.missing;
        operators_->share_among(count);
    }
    LogRecord(platform_->log(), "native")
        .field("routines", routines_.count())
        .field("code_bytes", routines_.header().bytes)
        .field("cores", operators_->cores())
        .field("missing", least);
}

void NativeService::log_statistics() {
    LogRecord(platform_->log(), "routines")
        .field("compiled", 0)
        .field("restored", routines_.count())
        .field("rejected", 0)
        .field("code_bytes", routines_.count() == 0 ? 0 : routines_.header().bytes);
}

void NativeService::dump_routines(std::string_view, TextListener& out) {
    out.text("this image is native: `bareflow-snap extract` shows the routines of its snapshot\n");
}
void NativeService::report_profile(TextListener& out) {
    out.text("this image is native: it has no profiler\n");
}
void NativeService::tune(TextListener& out) { out.text("this image is native: it has no tuner\n"); }

}  // namespace bareflow
