#include "arch/base/routine.h"

#include <bit>
#include <optional>

#include "arch/base/text.h"

namespace bareflow {
namespace {

constexpr OperationNaming kOperations[] = {
    {Operation::kProject, "MxNxK", true, false, "project_1x2048x2048_f32_fma_avx2"},
    {Operation::kQkv, "MxNxK_kvV_hH", true, false, "qkv_1x2048x2048_kv256_h64_f16_fma_avx2"},
    {Operation::kGateUp, "MxNxK", true, false, "gate_up_1x5632x2048_f32_fma_avx2"},
    {Operation::kRmsNorm, "N", false, true, "rms_norm_2048_fma_avx2"},
    {Operation::kAttention, "QqGkv_hH", false, false, "attention_32q4kv_h64_fma_avx2", true},
    {Operation::kArgmax, "N", false, false, "argmax_32000_fma_avx2"},
    {Operation::kSoftmax, "N", false, false, "softmax_32000_fma_avx2"},
    {Operation::kQuantise, "N", false, false, "quantise_2048_fma_avx2"},
    {Operation::kQuantiseWords, "N", false, false, "quantise_words_2048_fma_avx2"},
};
constexpr SizeNaming kSizes[] = {
    {'M', &RoutineKey::m, "rows of x"},
    {'N', &RoutineKey::n, "outputs"},
    {'K', &RoutineKey::k, "inputs"},
    {'V', &RoutineKey::kv_n, "outputs of key and of value each"},
    {'H', &RoutineKey::head_size, "floats of a head"},
    {'Q', &RoutineKey::num_heads, "query heads"},
    {'G', &RoutineKey::num_kv_heads, "key/value heads"},
};
constexpr std::string_view kEpilogues[] = {"", "add", "argmax"};
constexpr std::string_view kRows = "rows", kEps = "eps", kTenToMinus = "1em";

constexpr float kUsualEps = 1e-5f;
constexpr float kPowersOfTen[] = {1e-1f, 1e-2f, 1e-3f, 1e-4f, 1e-5f, 1e-6f, 1e-7f, 1e-8f, 1e-9f};
constexpr size_t kFloatDigits = 8;  ///< hexadecimal ones of a float's bits

const OperationNaming* naming_of(Operation operation) {
    for (const OperationNaming& naming : kOperations) {
        if (naming.operation == operation) return &naming;
    }
    return nullptr;
}
const SizeNaming* size_of_letter(char letter) {
    for (const SizeNaming& size : kSizes) {
        if (size.letter == letter) return &size;
    }
    return nullptr;
}

void append_eps(FixedString<96>& name, float eps) {
    const auto bits = std::bit_cast<uint32_t>(eps);
    if (bits == std::bit_cast<uint32_t>(kUsualEps)) return;
    for (size_t i = 0; i < sizeof kPowersOfTen / sizeof(float); ++i) {
        if (std::bit_cast<uint32_t>(kPowersOfTen[i]) == bits) {
            return name.append_format("_{}{}{}", kEps, kTenToMinus, i + 1);
        }
    }
    name.append_format("_{}x{:08x}", kEps, bits);
}

/// Reads a name from its start; what it refuses it describes with the place where that stands.
class NameReader {
 public:
    explicit NameReader(std::string_view text) : text_(text) {}

    Result<RoutineKey> key();

 private:
    std::string_view rest() const { return text_.substr(at_); }
    // Out of line, here and below: an inlined error takes some hundred bytes, and this is in the kernel too.
    [[gnu::noinline]] Error wanted(std::string_view what) const {
        return invalid("{} is wanted at character {} of key {}", what, at_ + 1, text_);
    }
    bool take(std::string_view word) {
        if (!rest().starts_with(word)) return false;
        at_ += word.size();
        return true;
    }
    /// Takes "_word" where the name goes on behind it with another part, or ends.
    bool take_part(std::string_view word) {
        const std::string_view part = rest();
        if (!part.starts_with('_') || !part.substr(1).starts_with(word)) return false;
        const std::string_view behind = part.substr(1 + word.size());
        if (!behind.empty() && behind.front() != '_') return false;
        at_ += 1 + word.size();
        return true;
    }
    /// One of `all` as the next part; `kind` is what they are, for the error.
    template <typename T, size_t count>
    Result<T> one_of(const T (&all)[count], std::string_view kind) {
        std::string_view names[count];
        for (size_t i = 0; i < count; ++i) names[i] = name_of(all[i]);
        return T(all[TRY(index_of(names, kind))]);
    }
    [[gnu::noinline]] Result<size_t> index_of(std::span<const std::string_view> names, std::string_view kind);
    [[gnu::noinline]] Result<const OperationNaming*> operation();
    [[gnu::noinline]] Result<uint32_t> number(const SizeNaming& size);
    [[gnu::noinline]] Result<void> sizes(std::string_view pattern, RoutineKey& key);
    [[gnu::noinline]] Result<float> eps();

    std::string_view text_;
    size_t at_ = 0;
};

Result<size_t> NameReader::index_of(std::span<const std::string_view> names, std::string_view kind) {
    FixedString<160> all;
    for (size_t i = 0; i < names.size(); ++i) {
        if (take_part(names[i])) return size_t{i};
        all.append_format("{}{}", i == 0 ? "" : ", ", names[i]);
    }
    return wanted(FixedString<200>::formatted("_ and {} ({})", kind, all.view()));
}

/// The operation whose name is the longest that fits.
Result<const OperationNaming*> NameReader::operation() {
    const OperationNaming* found = nullptr;
    FixedString<160> names;
    for (const OperationNaming& naming : kOperations) {
        const std::string_view name = name_of(naming.operation);
        names.append_format("{}{}", names.empty() ? "" : ", ", name);
        const bool fits = text_.starts_with(name) && text_.substr(name.size()).starts_with('_');
        if (fits && (found == nullptr || name.size() > name_of(found->operation).size())) found = &naming;
    }
    if (found == nullptr) return wanted(FixedString<200>::formatted("an operation ({}) and _", names.view()));
    at_ = name_of(found->operation).size() + 1;
    return found;
}

Result<uint32_t> NameReader::number(const SizeNaming& size) {
    size_t digits = 0;
    while (digits < rest().size() && rest()[digits] >= '0' && rest()[digits] <= '9') ++digits;
    const std::optional<uint64_t> value = parse_unsigned(rest().substr(0, digits));
    if (!value || *value < 1 || *value > UINT32_MAX) {
        return wanted(FixedString<100>::formatted(
            "{}, {}, a number from 1 to {},", std::string_view(&size.letter, 1), size.meaning, UINT32_MAX));
    }
    at_ += digits;
    return static_cast<uint32_t>(*value);
}

Result<void> NameReader::sizes(std::string_view pattern, RoutineKey& key) {
    for (size_t i = 0; i < pattern.size(); ++i) {
        const std::string_view letter = pattern.substr(i, 1);
        if (const SizeNaming* size = size_of_letter(letter[0])) {
            key.*size->field = TRY(number(*size));
        } else if (!take(letter)) {
            return wanted(FixedString<60>::formatted("'{}' (sizes are {})", letter, pattern));
        }
    }
    return {};
}

/// Behind "_eps".
Result<float> NameReader::eps() {
    if (take("x")) {
        const auto digits = FixedString<16>::formatted("0x{}", rest().substr(0, kFloatDigits));
        const std::optional<uint64_t> bits = parse_unsigned(digits);
        if (!bits || rest().size() < kFloatDigits) return wanted("8 hexadecimal digits of eps");
        at_ += kFloatDigits;
        return std::bit_cast<float>(static_cast<uint32_t>(*bits));
    }
    constexpr size_t kPowers = sizeof kPowersOfTen / sizeof(float);
    if (take(kTenToMinus) && !rest().empty()) {
        const auto power = static_cast<size_t>(rest().front() - '0');
        if (power >= 1 && power <= kPowers) {
            ++at_;
            return float{kPowersOfTen[power - 1]};
        }
    }
    return wanted("eps as 1em1 to 1em9 (10^-1 to 10^-9), or x and its bits,");
}

Result<RoutineKey> NameReader::key() {
    const OperationNaming& naming = *TRY(operation());
    RoutineKey key;
    key.operation = naming.operation;
    TRY(sizes(naming.sizes, key));
    if (naming.has_eps) key.eps = rest().starts_with("_eps") && take("_eps") ? TRY(eps()) : kUsualEps;
    for (size_t i = 1; i < sizeof kEpilogues / sizeof kEpilogues[0]; ++i) {
        if (take_part(kEpilogues[i])) key.epilogue = static_cast<Epilogue>(i);
    }
    if (naming.has_weights) {
        key.type = TRY(one_of(kElementTypes, "a type of weights"));
        key.layout = take_part(kRows) ? Layout::kRowMajor : Layout::kPanels16;
    }
    if (naming.has_cache && take_part(name_of(ElementType::kF16))) key.type = ElementType::kF16;
    key.numerics = TRY(one_of(kNumericClasses, "a numeric class"));
    key.isa = TRY(one_of(kIsas, "an ISA"));
    if (!rest().empty()) return wanted("the end");
    // Numbers with zeros in front and the like: one key has one name.
    const FixedString<96> written = name_of(key);
    if (written.view() != text_) return invalid("key {} is written {}", text_, written.view());
    return key;
}

constexpr PlanField kPlanFields[] = {
    {"panels", offsetof(Plan, panels), sizeof Plan::panels, 16, "panels of 16 outputs at a time"},
    {"rows", offsetof(Plan, rows), sizeof Plan::rows, 64, "rows of x at a time, where M is more than 1"},
    {"unroll", offsetof(Plan, unroll), sizeof Plan::unroll, 64, "steps of k in one turn of the loop"},
    {"vector", offsetof(Plan, vector_bytes), sizeof Plan::vector_bytes, 64,
     "bytes of a vector: 16, 32 or 64, at most the ISA's"},
    {"prefetch", offsetof(Plan, prefetch), sizeof Plan::prefetch, UINT16_MAX,
     "bytes ahead of the weights; 0: no prefetch"},
};

uint32_t field_of(const Plan& plan, const PlanField& field) {
    uint32_t value = 0;
    __builtin_memcpy(&value, reinterpret_cast<const uint8_t*>(&plan) + field.offset, field.size);
    return value;
}
void set_field(Plan& plan, const PlanField& field, uint32_t value) {
    __builtin_memcpy(reinterpret_cast<uint8_t*>(&plan) + field.offset, &value, field.size);
}

Result<void> parse_plan_field(std::string_view text, Plan& plan, uint32_t& given) {
    const size_t equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    FixedString<100> names;
    for (size_t i = 0; i < sizeof kPlanFields / sizeof kPlanFields[0]; ++i) {
        const PlanField& field = kPlanFields[i];
        names.append_format("{}{}", names.empty() ? "" : ", ", field.name);
        if (field.name != name) continue;
        if (equals == std::string_view::npos) return invalid("plan: {} has no value; give {}=N", name, name);
        const std::optional<uint64_t> value = parse_unsigned(text.substr(equals + 1));
        if (!value || *value > field.largest) {
            return Error::make(ErrorCode::kOutOfRange, "plan: {} is not a number from 0 to {}", text,
                               field.largest);
        }
        const bool is_vector = field.offset == offsetof(Plan, vector_bytes);
        if (is_vector && *value != 0 && *value != 16 && *value != 32 && *value != 64)
            return Error::make(ErrorCode::kOutOfRange, "plan: {} is not 16, 32 or 64 (0: the widest)", text);
        if ((given & 1u << i) != 0) return invalid("plan: {} is given twice", name);
        given |= 1u << i;
        set_field(plan, field, static_cast<uint32_t>(*value));
        return {};
    }
    return invalid("plan: there is no field \"{}\"; there are {}", name, names.view());
}

}  // namespace

std::span<const OperationNaming> operation_namings() { return kOperations; }
std::span<const SizeNaming> size_namings() { return kSizes; }
std::span<const PlanField> plan_fields() { return kPlanFields; }

FixedString<96> name_of(const RoutineKey& key) {
    FixedString<96> name(name_of(key.operation));
    const OperationNaming* naming = naming_of(key.operation);
    if (naming == nullptr) return name;
    name.append("_");
    for (size_t i = 0; i < naming->sizes.size(); ++i) {
        const SizeNaming* size = size_of_letter(naming->sizes[i]);
        size != nullptr ? name.append_format("{}", key.*size->field)
                        : name.append(naming->sizes.substr(i, 1));
    }
    if (naming->has_eps) append_eps(name, key.eps);
    if (key.epilogue != Epilogue::kStore)
        name.append_format("_{}", kEpilogues[static_cast<size_t>(key.epilogue)]);
    if (naming->has_cache && key.type != ElementType::kF32) name.append_format("_{}", name_of(key.type));
    if (naming->has_weights) {
        name.append_format("_{}", name_of(key.type));
        if (key.layout == Layout::kRowMajor) name.append_format("_{}", kRows);
    }
    name.append_format("_{}_{}", name_of(key.numerics), name_of(key.isa));
    return name;
}

Result<RoutineKey> parse_key(std::string_view name) { return NameReader(name).key(); }

FixedString<96> name_of(const Plan& plan) {
    FixedString<96> name;
    for (const PlanField& field : kPlanFields) {
        name.append_format("{}{}={}", name.empty() ? "" : ",", field.name, field_of(plan, field));
    }
    return name;
}

Result<Plan> parse_plan(std::string_view text) {
    Plan plan;
    uint32_t given = 0;  // a bit for each row of kPlanFields
    while (!text.empty()) {
        const size_t comma = text.find(',');
        TRY(parse_plan_field(text.substr(0, comma), plan, given));
        text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    }
    return plan;
}

}  // namespace bareflow
