// bareflow-snap's commands, as functions on streams.
#pragma once

#include <ostream>
#include <string>

#include "persist/tools/snapshot_file.h"

namespace bareflow {

/// What a snapshot holds, as text.
void list_snapshot(const SnapshotFile& file, std::ostream& out);
/// Every entry that a machine would refuse, with the reason; how many.
unsigned check_snapshot(const SnapshotFile& file, std::ostream& out);
/// What B has other than A, a line each; how many.
unsigned diff_snapshots(const SnapshotFile& a, const SnapshotFile& b, std::ostream& out);
/// The routine of the key, or all that are whole where it is empty, as an ELF object file.
Result<std::vector<uint8_t>> extract_routines(const SnapshotFile& file, const std::string& key);

/// The whole program: `list FILE`, `check FILE`, `diff A B`, `extract FILE KEY|--all -o OUT.o`. The exit status: 0; 1 for a
/// snapshot that cannot be read, is not in order, or differs; 2 for a wrong command line.
int run_snap(int argc, const char* const* argv, std::ostream& out, std::ostream& errors);

}  // namespace bareflow
