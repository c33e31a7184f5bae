// JSON files that somebody else wrote: parsed whole, within bounds, and read by questions whose answers are checked. Errors
// name the file and the path of the value ("config.json: rope_scaling.factor"). nlohmann/json (nlohmann-json3-dev) parses.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "arch/base/result.h"
#include "model/tools/files.h"

namespace bareflow {

/// A value of a document, which must outlive it.
class JsonValue {
 public:
    JsonValue(const nlohmann::json& value, std::string where) : value_(&value), where_(std::move(where)) {}

    /// "config.json: rope_scaling.factor".
    const std::string& where() const { return where_; }
    bool is_null() const;
    bool is_object() const;
    bool is_array() const;
    bool is_text() const;
    bool is_number() const;
    bool is_boolean() const;
    /// How many values an object or array has; 0 for all else.
    size_t size() const;

    /// The value at `key`; nothing if there is none, if it is null, or if this is no object.
    std::optional<JsonValue> find(std::string_view key) const;
    /// The same, and an error if there is none.
    Result<JsonValue> at(std::string_view key) const;

    Result<uint64_t> count(uint64_t lowest, uint64_t highest) const;
    Result<double> number(double lowest, double highest) const;
    Result<bool> boolean() const;
    Result<std::string_view> text() const;

    using Visitor = std::function<Result<void>(std::string_view key, const JsonValue& value)>;
    /// Calls `visit` with each value of an object, by ascending key, or of an array, whose keys are empty; ends with the
    /// first error. Anything else is an error.
    Result<void> for_each(const Visitor& visit) const;

    /// "{where}: {what}", for what only the caller can judge.
    Error wrong(std::string_view what) const;
    Error unsupported(std::string_view what) const;

 private:
    std::string path_of(std::string_view key) const;
    const nlohmann::json* value_;
    std::string where_;
};

class JsonDocument {
 public:
    /// Parses `text`, whose name errors tell. Refused: what is no JSON (with the byte's offset), more than 32 levels, a key
    /// that an object has twice, and at the top anything but an object.
    static Result<JsonDocument> parse(std::string_view text, std::string name);
    /// Reads a file of at most `most_bytes`.
    static Result<JsonDocument> read(const std::string& path, uint64_t most_bytes);

    JsonDocument(JsonDocument&&) noexcept;
    JsonDocument& operator=(JsonDocument&&) noexcept;
    ~JsonDocument();
    JsonValue root() const;

 private:
    JsonDocument(std::unique_ptr<nlohmann::json> value, std::string name);
    std::unique_ptr<nlohmann::json> value_;
    std::string name_;
};

/// A whole small file as text; more than `most_bytes` is an error.
Result<std::string> read_text(const std::string& path, uint64_t most_bytes);

}  // namespace bareflow
