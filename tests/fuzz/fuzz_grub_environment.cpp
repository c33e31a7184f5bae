// GRUB's environment block with any lines in it: what is accepted can be listed, changed, and read again as it was.
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "persist/grub_environment.h"

using namespace bareflow;

namespace {

struct Variable {
    std::string name, value;
    bool operator==(const Variable&) const = default;
};

std::vector<Variable> variables_of(const GrubEnvironment& environment) {
    std::vector<Variable> variables;
    std::string_view name;
    GrubEnvironment::Value value;
    for (size_t position = 0; environment.next(position, name, value);)
        variables.push_back({std::string(name), std::string(value.view())});
    return variables;
}

void require(bool holds) {
    if (!holds) abort();
}

/// The block as it stands is accepted, and has these variables.
void require_block(const GrubEnvironment& environment, const std::vector<Variable>& variables) {
    const Result<GrubEnvironment> again = GrubEnvironment::parse(environment.bytes());
    require(again.ok());
    require(variables_of(again.value()) == variables);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    constexpr std::string_view kSignature = "# GRUB Environment Block\n";
    std::string block(kSignature);
    block.append(reinterpret_cast<const char*>(data), size);
    block.resize(GrubEnvironment::kBytes, '#');
    Result<GrubEnvironment> parsed =
        GrubEnvironment::parse({reinterpret_cast<const uint8_t*>(block.data()), block.size()});
    if (!parsed.ok()) return 0;

    GrubEnvironment& environment = parsed.value();
    std::vector<Variable> variables = variables_of(environment);
    require_block(environment, variables);
    // Each gets its neighbour's value; what does not fit changes nothing.
    for (size_t i = 0; i < variables.size(); ++i) {
        const std::string& value = variables[(i + 1) % variables.size()].value;
        if (environment.set(variables[i].name, value).ok()) variables[i].value = value;
        require_block(environment, variables);
    }
    if (environment.set("a new one", "\\\n").ok()) {
        const Result<GrubEnvironment::Value> value = environment.get("a new one");
        require(value.ok() && value.value().view() == "\\\n");
    }
    require(GrubEnvironment::parse(environment.bytes()).ok());
    return 0;
}
