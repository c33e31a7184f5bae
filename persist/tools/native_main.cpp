// bareflow-native: makes a bootable image of a machine that has nothing left to learn.
#include <filesystem>
#include <iostream>

#include "persist/tools/native.h"

extern "C" const uint8_t bareflow_build_id[20];

int main(int argc, char** argv) {
    try {
        const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
        const int status = bareflow::run_native(argc, argv, program, bareflow_build_id, std::cout, std::cerr);
        if (std::cout.flush()) return status;
        std::cerr << "bareflow-native: standard output cannot be written\n";
    } catch (const std::exception& error) {
        std::cerr << "bareflow-native: " << error.what() << '\n';
    }
    return 1;
}
