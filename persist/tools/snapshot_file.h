// A slot as a file on a host, opened as the kernel would.
#pragma once

#include <string>
#include <vector>

#include "model/tools/files.h"
#include "persist/snapshot.h"

namespace bareflow {

class SnapshotFile {
 public:
    /// An error names the file and the reason for which the kernel would refuse it.
    static Result<SnapshotFile> open(const std::string& path);
    /// The same of a slot's bytes, wherever they come from.
    static Result<SnapshotFile> of(MappedFile slot, const std::string& path);

    const std::string& path() const { return path_; }
    const SnapshotView& view() const { return view_; }
    const snapshot::Header& header() const { return view_.header(); }
    const snapshot::BootMark& mark() const { return mark_; }
    /// What any machine would refuse the routine for: also, where this program has the same emitter, that it makes other bytes.
    SnapshotRefusal check(const snapshot::StoredRoutine& routine) const;

 private:
    SnapshotFile(MappedFile file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
    MappedFile file_;
    std::string path_;
    SnapshotView view_;
    snapshot::BootMark mark_{};
};

}  // namespace bareflow
