// Changes JSON and leaves it JSON: bytes that were changed at random hardly ever parse, and prove nothing but that.
#pragma once

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace bareflow::fuzz {

class JsonMutator {
 public:
    explicit JsonMutator(unsigned seed) : random_(seed) {}

    /// `text` with one value changed, taken away or written twice; empty if it is no JSON.
    std::string mutate(std::string_view text) {
        Json document = Json::parse(text, nullptr, /*allow_exceptions=*/false);
        if (document.is_discarded()) return {};
        std::vector<Json*> values;
        list(document, values);
        change(*values[below(values.size())], *values[below(values.size())]);
        return document.dump(-1, ' ', false, Json::error_handler_t::replace);
    }

 private:
    using Json = nlohmann::ordered_json;

    size_t below(size_t n) { return random_() % n; }

    static void list(Json& value, std::vector<Json*>& values) {
        values.push_back(&value);
        for (Json& child : value) {
            if (value.is_structured()) list(child, values);
        }
    }

    void change(Json& value, const Json& other) {
        switch (below(5)) {
            case 0:
                value = strange();
                return;
            case 1:
                value = Json(other);
                return;
            case 2:
                if (value.is_structured() && !value.empty()) {
                    value.erase(std::next(value.begin(), static_cast<std::ptrdiff_t>(below(value.size()))));
                }
                return;
            case 3:
                if (value.is_array()) value.insert(value.begin(), Json(other));
                if (value.is_object())
                    value[other.is_string() ? other.get<std::string>() : "0"] = Json(other);
                return;
            default:
                if (value.is_string()) value = changed(value.get<std::string>());
                if (value.is_number_integer())
                    value = value.get<uint64_t>() + (below(2) == 0 ? 1 : UINT64_MAX);
                if (value.is_number_float()) value = value.get<double>() * (below(2) == 0 ? 2 : -0.5);
                if (value.is_boolean()) value = !value.get<bool>();
        }
    }

    /// What a reader may not have thought of.
    Json strange() {
        static const Json kValues = {nullptr,
                                     true,
                                     false,
                                     0,
                                     1,
                                     -1,
                                     255,
                                     256,
                                     4096,
                                     65536,
                                     16777216,
                                     16777217,
                                     4294967295,
                                     1e308,
                                     1e-46,
                                     0.5,
                                     "",
                                     Json::array(),
                                     Json::object(),
                                     9007199254740993,
                                     UINT64_MAX,
                                     INT64_MIN};
        return kValues[below(kValues.size())];
    }

    static std::string changed(std::string text) {
        const size_t size = text.size();
        text.resize(size + 8);
        text.resize(LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(text.data()), size, text.size()));
        return text;
    }

    std::minstd_rand random_;
};

}  // namespace bareflow::fuzz
