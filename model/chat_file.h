// A conversation in a file: what was said, its tokens, their keys and values, the settings and the random numbers' place, so
// that the next reply is the one that would have come without (README.md "A saved conversation").
#pragma once

#include "arch/base/file_store.h"
#include "model/conversation.h"

namespace bareflow {

namespace chat_file {

constexpr char kMagic[9] = "BFCHAT\r\n";
static_assert(sizeof(kMagic) - 1 == FileStore::kKindBytes);
constexpr uint32_t kVersion = 1;

/// Little-endian. Behind it: Turn[turn_count], uint32 replies[reply_count], uint32 tokens[token_count], the texts, the system
/// prompt; then layer by layer the keys and the values of `evaluated` tokens.
struct Header {
    char magic[8];
    uint32_t version;
    uint32_t header_size;
    uint64_t file_size;
    uint32_t model_hash;  ///< Weights::hash
    uint32_t cache_type;  ///< ElementType
    uint32_t numerics;    ///< NumericClass
    uint32_t layers, kv_row_bytes;
    uint32_t system_size, turn_count, text_size, reply_count;
    uint32_t token_count, evaluated, text_begin, reply_begin;  ///< as Session has them
    uint32_t max_tokens;
    char chat_template[16];  ///< its name, filled up with zeroes
    float temperature, top_p, min_p, repeat_penalty;
    uint32_t top_k;
    uint32_t reserved;
    uint64_t seed, random[4];
    uint32_t said_crc32c;  ///< of what stands between header and keys
    uint32_t kv_crc32c;
    uint32_t reserved_end[21];
    uint32_t header_crc32c;  ///< of the bytes before it
};
static_assert(sizeof(Header) == 256);
static_assert(offsetof(Header, chat_template) == 80 && offsetof(Header, seed) == 120);

}  // namespace chat_file

/// Saves it, with the sampling and max_tokens of `options`; how many bytes the file has. Errors are FileStore's.
Result<uint64_t> save_conversation(FileStore& files, std::string_view name, const Conversation& conversation,
                                   Session& session, const Options& options, Allocator& allocator);
/// Brings it back into `conversation`, `session` and `options`. An error says what does not fit, and all is as before; but
/// where the file cannot be read to its end, after it was found to be whole, nothing was said.
Result<void> load_conversation(FileStore& files, std::string_view name, Conversation& conversation,
                               Session& session, Options& options, Allocator& allocator);

}  // namespace bareflow
