// bareflow-snap: lists, checks, compares and takes apart the snapshots that boots leave.
#include <iostream>

#include "persist/tools/snap.h"

int main(int argc, char** argv) {
    try {
        const int status = bareflow::run_snap(argc, argv, std::cout, std::cerr);
        if (std::cout.flush()) return status;
        std::cerr << "bareflow-snap: standard output cannot be written\n";
    } catch (const std::exception& error) {
        std::cerr << "bareflow-snap: " << error.what() << '\n';
    }
    return 1;
}
