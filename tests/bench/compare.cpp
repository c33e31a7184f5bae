// --compare: this run beside an earlier one's JSON.
#include <cstdio>
#include <fstream>

#include "tests/bench/emitted.h"
#include "tests/bench/report.h"

namespace bareflow::bench {
namespace {

using Json = nlohmann::json;

/// The figure of that name and unit; nullptr if there is none.
const Json* find(const Json& figures, const Json& wanted) {
    for (const Json& each : figures) {
        if (each["name"] == wanted["name"] && each["unit"] == wanted["unit"]) return &each;
    }
    return nullptr;
}

/// Worse, and the quartiles of both runs do not meet.
bool is_worse(const Json& was, const Json& is) {
    return is["better"] == "lower" ? is["low"].get<double>() > was["high"].get<double>()
                                   : is["high"].get<double>() < was["low"].get<double>();
}

bool print_if_both(const Json& was, const Json& is) {
    const double before = was["median"], after = is["median"];
    const bool worse = is_worse(was, is), better = is_worse(is, was);
    std::printf("   %-60s %12.5g %12.5g %s  %6.3f%s\n", is["name"].get<std::string>().c_str(), before, after,
                is["unit"].get<std::string>().c_str(), before == 0 ? 0.0 : after / before,
                worse    ? "  WORSE"
                : better ? "  better"
                         : "");
    return worse;
}

}  // namespace

size_t compare_with(const std::string& older, const Json& now) {
    std::ifstream file(older);
    const Json old = Json::parse(file, nullptr, false);
    if (old.is_discarded() || !old.contains("sections"))
        give_up(older + " is no JSON that --json of this program wrote");
    size_t worse = 0, compared = 0;
    std::printf("\n== compared with %s: old, new, new / old\n", older.c_str());
    if (old["cpu"] != now["cpu"])
        std::printf(" another CPU: %s then\n", old["cpu"].get<std::string>().c_str());
    for (const auto& [section, content] : now["sections"].items()) {
        if (!old["sections"].contains(section)) continue;
        std::printf(" %s\n", section.c_str());
        for (const Json& is : content["figures"]) {
            const Json* was = find(old["sections"][section]["figures"], is);
            if (was == nullptr) continue;
            ++compared;
            worse += print_if_both(*was, is);
        }
    }
    std::printf("%zu figures compared, %zu worse by more than their intervals\n", compared, worse);
    if (compared == 0) give_up("no figure of this run is in " + older + "; were other sections chosen?");
    return worse;
}

}  // namespace bareflow::bench
