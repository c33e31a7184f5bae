#include "model/tools/json.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

namespace bareflow {
namespace {

using Json = nlohmann::json;

constexpr size_t kMostLevels = 32;

/// Thrown out of the parser, which knows no other way to stop.
struct Refusal {
    std::string what;
};

/// Watches the parser: what it reads is no deeper than kMostLevels, and no object has a key twice (the parser would keep
/// the last one, other readers the first).
class Guard {
 public:
    bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
        using enum Json::parse_event_t;
        const auto level = static_cast<size_t>(depth);
        if (event == object_start || event == array_start) {
            if (level >= kMostLevels)
                throw Refusal{"more than " + std::to_string(kMostLevels) + " levels deep"};
            if (event == object_start) {
                keys_.resize(std::max(keys_.size(), level + 1));
                keys_[level].clear();
            }
        } else if (event == key) {
            const auto& name = parsed.get_ref<const std::string&>();
            if (!keys_[level - 1].insert(name).second)
                throw Refusal{"the key \"" + name.substr(0, 60) + "\" stands twice in one object"};
        }
        return true;
    }

 private:
    std::vector<std::set<std::string>> keys_;  ///< of the objects that are open, by level
};

}  // namespace

bool JsonValue::is_null() const { return value_->is_null(); }
bool JsonValue::is_object() const { return value_->is_object(); }
bool JsonValue::is_array() const { return value_->is_array(); }
bool JsonValue::is_text() const { return value_->is_string(); }
bool JsonValue::is_number() const { return value_->is_number(); }
bool JsonValue::is_boolean() const { return value_->is_boolean(); }
size_t JsonValue::size() const { return value_->is_structured() ? value_->size() : 0; }

Error JsonValue::wrong(std::string_view what) const {
    return invalid("{}: {}", std::string_view(where_), what);
}
Error JsonValue::unsupported(std::string_view what) const {
    return Error::make(ErrorCode::kUnsupported, "{}: {}", std::string_view(where_), what);
}

/// A file's name is followed by a colon, a value's by a point.
std::string JsonValue::path_of(std::string_view key) const {
    const bool in_value = where_.find(": ") != std::string::npos;
    return where_ + (in_value ? "." : ": ") + std::string(key);
}

std::optional<JsonValue> JsonValue::find(std::string_view key) const {
    if (!value_->is_object()) return {};
    const auto found = value_->find(key);
    if (found == value_->end() || found->is_null()) return {};
    return JsonValue(*found, path_of(key));
}

Result<JsonValue> JsonValue::at(std::string_view key) const {
    std::optional<JsonValue> found = find(key);
    if (!found) return invalid("{} is missing; is the file whole?", std::string_view(path_of(key)));
    return *found;
}

Result<uint64_t> JsonValue::count(uint64_t lowest, uint64_t highest) const {
    if (!value_->is_number_unsigned()) {
        return invalid("{} must be a whole number from {} to {}", std::string_view(where_), lowest, highest);
    }
    const auto value = value_->get<uint64_t>();
    if (value < lowest || value > highest) {
        return invalid("{} is {}, must be {} to {}", std::string_view(where_), value, lowest, highest);
    }
    return value;
}

Result<double> JsonValue::number(double lowest, double highest) const {
    const double value = value_->is_number() ? value_->get<double>() : std::nan("");
    if (!(value >= lowest && value <= highest)) {
        return invalid("{} must be a number from {:.4} to {:.4}", std::string_view(where_), lowest, highest);
    }
    return value;
}

Result<bool> JsonValue::boolean() const {
    if (!value_->is_boolean()) return wrong("must be true or false");
    return value_->get<bool>();
}

Result<std::string_view> JsonValue::text() const {
    if (!value_->is_string()) return wrong("must be a text");
    return std::string_view(value_->get_ref<const std::string&>());
}

Result<void> JsonValue::for_each(const Visitor& visit) const {
    if (value_->is_object()) {
        for (const auto& [key, value] : value_->items()) {
            TRY(visit(key, JsonValue(value, path_of(key))));
        }
        return {};
    }
    if (!value_->is_array()) return wrong("must be an object or an array");
    size_t index = 0;
    for (const Json& value : *value_) {
        TRY(visit({}, JsonValue(value, where_ + "[" + std::to_string(index++) + "]")));
    }
    return {};
}

JsonDocument::JsonDocument(std::unique_ptr<Json> value, std::string name)
    : value_(std::move(value)), name_(std::move(name)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

JsonValue JsonDocument::root() const { return {*value_, name_}; }

Result<JsonDocument> JsonDocument::parse(std::string_view text, std::string name) {
    const std::string_view file = name;
    try {
        Guard guard;
        auto value = std::make_unique<Json>(Json::parse(text.begin(), text.end(), std::ref(guard)));
        if (!value->is_object()) return invalid("{}: its JSON is no object; is this the right file?", file);
        return JsonDocument(std::move(value), std::move(name));
    } catch (const Refusal& refusal) {
        return invalid("{}: {}; it cannot be used", file, std::string_view(refusal.what));
    } catch (const Json::parse_error& error) {
        return invalid("{}: is no JSON from offset {} on; copy the file again", file, error.byte);
    } catch (const Json::exception&) {
        return invalid("{}: holds a number that no double can be; it cannot be used", file);
    }
}

Result<JsonDocument> JsonDocument::read(const std::string& path, uint64_t most_bytes) {
    const std::string text = TRY(read_text(path, most_bytes));
    return parse(text, base_name(path));
}

Result<std::string> read_text(const std::string& path, uint64_t most_bytes) {
    const InputFile file = TRY(InputFile::open(path));
    if (file.size() > most_bytes) {
        return invalid("{}: {} bytes, more than {}; is this the right file?", std::string_view(file.name()),
                       file.size(), most_bytes);
    }
    std::string text(file.size(), '\0');
    TRY(file.read_at(0, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
    return text;
}

}  // namespace bareflow
