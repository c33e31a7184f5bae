// build/host/bareflow: the same program as the kernel, as a Linux process.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <optional>

#include "arch/boot_main.h"
#include "arch/host/command_line.h"
#include "arch/host/host_platform.h"
#include "arch/host/watchdog.h"
#include "model/tools/open_model.h"

extern "C" const uint8_t bareflow_embedded_model[], bareflow_embedded_model_end[];

namespace bareflow {
namespace {

ByteSpan embedded_model() { return {bareflow_embedded_model, bareflow_embedded_model_end}; }

Result<void> run(const HostCommandLine& command_line, HostPlatform& platform) {
    const Options& options = command_line.options;
    if (!command_line.log.empty()) TRY(platform.open_log(command_line.log));
    if (options.model.empty()) {
        if (!options.tokenizer.empty())
            return invalid("-z is the tokenizer of a model file; give that with -m");
        const ModelImage embedded{"embedded", "bareflow-stories", embedded_model()};
        return boot_main(platform, options, {&embedded, 1});
    }
    const std::string path(options.model);
    const MappedFile file = TRY(open_model(path, std::string(options.tokenizer), isatty(STDERR_FILENO)));
    const std::string name = base_name(path);
    const ModelImage given{"file", name, file.bytes()};
    return boot_main(platform, options, {&given, 1});
}

}  // namespace
}  // namespace bareflow

int main(int argc, char** argv) {
    using namespace bareflow;
    constexpr int kGoOn = -1;
    HostCommandLine command_line;
    if (int status = parse_host_command_line(command_line, argc, argv); status != kGoOn) return status;
    start_watchdog(command_line.timeout_s);

    HostPlatform platform(embedded_model().size());
    Result<void> done = run(command_line, platform);
    if (done.ok()) done = platform.check_output();
    if (done.ok()) return 0;
    const std::string_view message = done.error().message;
    std::fprintf(stderr, "bareflow: %.*s\n", static_cast<int>(message.size()), message.data());
    return 1;
}
