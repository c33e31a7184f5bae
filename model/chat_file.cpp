#include "model/chat_file.h"

#include "arch/base/crc32c.h"

namespace bareflow {
namespace {

using chat_file::Header;

template <typename T>
ByteSpan bytes_of(std::span<const T> items) {
    return {reinterpret_cast<const uint8_t*>(items.data()), items.size_bytes()};
}
ByteSpan bytes_of(std::string_view text) { return bytes_of(std::span(text.data(), text.size())); }

uint32_t header_crc(const Header& header) {
    return crc32c({reinterpret_cast<const uint8_t*>(&header), offsetof(Header, header_crc32c)});
}

/// What a file must say to belong to this model and cache.
Header header_of(const Session& session) {
    const Transformer& transformer = session.transformer();
    Header header{};
    __builtin_memcpy(header.magic, chat_file::kMagic, sizeof header.magic);
    header.version = chat_file::kVersion;
    header.header_size = sizeof(Header);
    header.model_hash = session.weights().hash;
    header.cache_type = static_cast<uint32_t>(transformer.cache_type());
    header.numerics = static_cast<uint32_t>(transformer.operators().numeric_class());
    header.layers = transformer.config().num_layers;
    header.kv_row_bytes = static_cast<uint32_t>(transformer.kv_row_bytes());
    return header;
}

uint64_t said_bytes(const Header& h) {
    return uint64_t{h.turn_count} * sizeof(Turn) +
           (uint64_t{h.reply_count} + h.token_count) * sizeof(uint32_t) + h.text_size + h.system_size;
}
/// `evaluated` is at most a context: no product overflows.
uint64_t kv_bytes(const Header& h) { return 2ULL * h.layers * h.evaluated * h.kv_row_bytes; }

bool is_within(float value, float low, float high) { return value >= low && value <= high; }

/// Whether the file is of this model, and can be held here.
Result<void> check(const Header& h, uint64_t file_size, const Session& session) {
    const Header wanted = header_of(session);
    const uint32_t context = session.transformer().context();
    if (__builtin_memcmp(h.magic, wanted.magic, sizeof h.magic) != 0)
        return invalid("it is no conversation of BareFlow's: its first 8 bytes are others");
    if (h.version != wanted.version || h.header_size != wanted.header_size) {
        return Error::make(ErrorCode::kUnsupported, "its format has version {}; this BareFlow reads {}",
                           h.version, wanted.version);
    }
    if (header_crc(h) != h.header_crc32c)
        return invalid("its header is damaged (header_crc32c at offset 252)");
    if (h.model_hash != wanted.model_hash || h.layers != wanted.layers) {
        return invalid(
            "it was held with the model of hash {:08x}, and this one is {:08x}; start with that model (-m)",
            h.model_hash, wanted.model_hash);
    }
    if (h.cache_type != wanted.cache_type || h.kv_row_bytes != wanted.kv_row_bytes) {
        const bool half = h.cache_type == static_cast<uint32_t>(ElementType::kF16);
        return invalid("its keys and values are {}; start with --cache-type {}", half ? "f16" : "f32",
                       half ? "f16" : "f32");
    }
    if (h.numerics != wanted.numerics) {
        const bool fma = h.numerics == static_cast<uint32_t>(NumericClass::kFma);
        return invalid("it was computed in another numeric class; start with --numerics {}",
                       fma ? "fma" : "muladd");
    }
    if (h.token_count > context) {
        return Error::make(ErrorCode::kOutOfRange, "it has {} tokens, and the context {}; start with -c {}",
                           h.token_count, context, h.token_count);
    }
    const bool ordered = h.evaluated <= h.token_count && h.text_begin <= h.token_count &&
                         h.reply_begin <= h.token_count && (h.turn_count == 0 || h.token_count != 0);
    if (!ordered) return invalid("its counts of tokens contradict each other (offsets 48 to 75)");
    if (file_size != h.file_size || file_size != sizeof(Header) + said_bytes(h) + kv_bytes(h)) {
        return invalid("it has {} bytes, and its header speaks of {}", file_size,
                       sizeof(Header) + said_bytes(h) + kv_bytes(h));
    }
    const bool sane = is_within(h.temperature, 0, 100) && is_within(h.top_p, 0, 1) &&
                      is_within(h.min_p, 0, 1) && is_within(h.repeat_penalty, 0.01f, 100) &&
                      (h.random[0] | h.random[1] | h.random[2] | h.random[3]) != 0;
    if (!sane) return invalid("its sampling settings are out of range (offsets 96 to 159)");
    return {};
}

const ChatTemplate* template_of(const Header& h) {
    std::string_view name(h.chat_template, sizeof h.chat_template);
    return find_chat_template(name.substr(0, name.find('\0')));
}

/// The parts of what stands behind the header.
struct Parts {
    Said said;
    std::span<const uint32_t> tokens;
};
template <typename T>
std::span<const T> take(std::span<const uint8_t>& bytes, uint32_t count) {
    const std::span<const T> items(reinterpret_cast<const T*>(bytes.data()), count);
    bytes = bytes.subspan(items.size_bytes());
    return items;
}
std::string_view take_text(std::span<const uint8_t>& bytes, uint32_t size) {
    const std::span<const char> text = take<char>(bytes, size);
    return {text.data(), text.size()};
}

Result<Parts> parts_of(const Header& h, std::span<const uint8_t> bytes, uint32_t vocab_size) {
    Parts parts;
    parts.said.turns = take<Turn>(bytes, h.turn_count);
    parts.said.replies = take<uint32_t>(bytes, h.reply_count);
    parts.tokens = take<uint32_t>(bytes, h.token_count);
    parts.said.texts = take_text(bytes, h.text_size);
    parts.said.system = take_text(bytes, h.system_size);
    uint64_t texts = 0, replies = 0;
    for (const Turn& turn : parts.said.turns) texts += turn.text_size, replies += turn.reply_size;
    if (texts != h.text_size || replies != h.reply_count)
        return invalid("its turns do not add up to its {} bytes and {} tokens", h.text_size, h.reply_count);
    for (const std::span<const uint32_t> tokens : {parts.said.replies, parts.tokens}) {
        for (uint32_t token : tokens) {
            if (token >= vocab_size)
                return invalid("it has token {}, and the vocabulary {}", token, vocab_size);
        }
    }
    return parts;
}

/// The checksum of the keys and values, read into their place or, a piece at a time, into `scratch`.
Result<uint32_t> read_kv(FileStore& files, std::string_view name, const Header& h, const Session* place,
                         std::span<uint8_t> scratch) {
    uint64_t at = sizeof(Header) + said_bytes(h);
    uint32_t crc = 0;
    if (place == nullptr) {
        for (uint64_t left = kv_bytes(h); left > 0;) {
            const std::span<uint8_t> piece = scratch.first(left < scratch.size() ? left : scratch.size());
            TRY(files.read_file(name, at, piece));
            crc = crc32c(piece, crc);
            at += piece.size(), left -= piece.size();
        }
        return crc;
    }
    for (uint32_t layer = 0; layer < h.layers; ++layer) {
        const KvCache::Kept kept = place->transformer().kept(layer, h.evaluated);
        for (const std::span<uint8_t> rows : {kept.keys, kept.values}) {
            if (rows.empty()) continue;
            TRY(files.read_file(name, at, rows));
            crc = crc32c(rows, crc);
            at += rows.size();
        }
    }
    return crc;
}

Error kv_damaged() { return invalid("its keys and values are damaged (kv_crc32c at offset 164)"); }

}  // namespace

Result<uint64_t> save_conversation(FileStore& files, std::string_view name, const Conversation& conversation,
                                   Session& session, const Options& options, Allocator& allocator) {
    const Said said = conversation.said();
    const SamplingOptions& s = options.sampling;
    Header h = header_of(session);
    h.system_size = static_cast<uint32_t>(said.system.size());
    h.turn_count = static_cast<uint32_t>(said.turns.size());
    h.text_size = static_cast<uint32_t>(said.texts.size());
    h.reply_count = static_cast<uint32_t>(said.replies.size());
    h.token_count = static_cast<uint32_t>(session.tokens().size());
    h.evaluated = session.evaluated();
    h.text_begin = session.text_begin();
    h.reply_begin = h.token_count - static_cast<uint32_t>(session.reply().size());
    h.max_tokens = options.max_tokens;
    const std::string_view chat_template = conversation.chat_template().name;
    __builtin_memcpy(h.chat_template, chat_template.data(), chat_template.size());
    h.temperature = s.temperature, h.top_p = s.top_p, h.min_p = s.min_p;
    h.repeat_penalty = s.repeat_penalty, h.top_k = s.top_k;
    h.seed = session.current_seed();
    __builtin_memcpy(h.random, session.random_state().words, sizeof h.random);
    h.file_size = sizeof h + said_bytes(h) + kv_bytes(h);

    constexpr size_t kSaid = 5;
    Buffer<ByteSpan> parts =
        TRY(Buffer<ByteSpan>::make(allocator, 1 + kSaid + size_t{h.layers} * 2, "parts of a file"));
    size_t count = 0;
    parts[count++] = {reinterpret_cast<const uint8_t*>(&h), sizeof h};
    for (const ByteSpan part : {bytes_of(said.turns), bytes_of(said.replies), bytes_of(session.tokens()),
                                bytes_of(said.texts), bytes_of(said.system)}) {
        h.said_crc32c = crc32c(part, h.said_crc32c);
        parts[count++] = part;
    }
    for (uint32_t layer = 0; layer < h.layers; ++layer) {
        const KvCache::Kept kept = session.transformer().kept(layer, h.evaluated);
        for (const ByteSpan rows : {ByteSpan(kept.keys), ByteSpan(kept.values)}) {
            h.kv_crc32c = crc32c(rows, h.kv_crc32c);
            parts[count++] = rows;
        }
    }
    h.header_crc32c = header_crc(h);
    TRY(files.replace_file(name, parts.span()));
    return h.file_size;
}

Result<void> load_conversation(FileStore& files, std::string_view name, Conversation& conversation,
                               Session& session, Options& options, Allocator& allocator) {
    const uint64_t size = TRY(files.file_size(name));
    Header h;
    if (size < sizeof h)
        return invalid("it has {} bytes, and its header alone would have {}", size, sizeof h);
    TRY(files.read_file(name, 0, {reinterpret_cast<uint8_t*>(&h), sizeof h}));
    TRY(check(h, size, session));
    const ChatTemplate* chat_template = template_of(h);
    if (chat_template == nullptr || (chat_template->is_plain() && h.turn_count > 1))
        return invalid("its chat template (offset 80) is none that there is, or has no such turns");
    constexpr uint64_t kMostSaid = uint64_t{1} << 28;
    if (said_bytes(h) > kMostSaid)
        return invalid("its text has {} bytes; at most {} are read", said_bytes(h), kMostSaid);

    Buffer<uint8_t> bytes = TRY(Buffer<uint8_t>::make(allocator, said_bytes(h), "a saved conversation"));
    TRY(files.read_file(name, sizeof h, bytes.span()));
    if (crc32c(bytes.span()) != h.said_crc32c)
        return invalid("its text is damaged (said_crc32c at offset 160)");
    const Parts parts = TRY(parts_of(h, bytes.span(), session.weights().config.vocab_size));
    constexpr size_t kPiece = 64 * 1024;
    Buffer<uint8_t> scratch = TRY(Buffer<uint8_t>::make(allocator, kPiece, "a piece of a file"));
    if (TRY(read_kv(files, name, h, nullptr, scratch.span())) != h.kv_crc32c) return kv_damaged();

    TRY(conversation.restore(*chat_template, parts.said));
    session.forget();
    const Result<uint32_t> crc = read_kv(files, name, h, &session, {});
    if (!crc.ok() || crc.value() != h.kv_crc32c) {
        conversation.clear();
        return crc.ok() ? kv_damaged() : crc.error();
    }
    session.restore(parts.tokens, h.evaluated, h.text_begin, h.reply_begin);
    Sampler::State state;
    __builtin_memcpy(state.words, h.random, sizeof state.words);
    session.set_random_state(h.seed, state);
    options.max_tokens = h.max_tokens;
    SamplingOptions& s = options.sampling;
    s.temperature = h.temperature, s.top_p = h.top_p, s.min_p = h.min_p;
    s.repeat_penalty = h.repeat_penalty, s.top_k = h.top_k;
    return {};
}

}  // namespace bareflow
