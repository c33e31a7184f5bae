// The files of a folder.
#pragma once

#include <string>

#include "arch/base/file_store.h"

namespace bareflow {

class FolderFiles final : public FileStore {
 public:
    explicit FolderFiles(std::string folder) : folder_(std::move(folder)) {}
    Result<uint64_t> file_size(std::string_view name) override;
    Result<void> read_file(std::string_view name, uint64_t offset, std::span<uint8_t> out) override;
    /// Written as NAME.new, made durable, and renamed; then the folder is made durable, too.
    Result<void> replace_file(std::string_view name, std::span<const ByteSpan> parts) override;

 private:
    std::string path(std::string_view name) const { return folder_ + "/" + std::string(name); }
    std::string folder_;
};

}  // namespace bareflow
