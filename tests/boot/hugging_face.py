"""The default model as a Hugging Face folder, made from its llama2.c file: config.json, model.safetensors, tokenizer.model."""

import json
import struct

from harness import ROOT

MODEL = ROOT / "model" / "bareflow-stories.bin"
TOKENIZER = ROOT / "model" / "bareflow-stories.tokenizer.bin"
NAMES = {"wq": "self_attn.q_proj", "wk": "self_attn.k_proj", "wv": "self_attn.v_proj", "wo": "self_attn.o_proj",
         "w1": "mlp.gate_proj", "w2": "mlp.down_proj", "w3": "mlp.up_proj", "attention_norm": "input_layernorm",
         "ffn_norm": "post_attention_layernorm"}


def half_split(rows, row_bytes, head_size):
    """Rows of interleaved pairs in the order of halves: of each head the first ones of all pairs, then the second ones."""
    result = b""
    for head in range(0, len(rows) // row_bytes, head_size):
        for row in [*range(head, head + head_size, 2), *range(head + 1, head + head_size, 2)]:
            result += rows[row * row_bytes:(row + 1) * row_bytes]
    return result


def tensors_of(data):
    """(config, [(name, shape, bytes)]) of a llama2.c v0 file whose embedding is its classifier."""
    dim, hidden, layers, heads, kv_heads, vocabulary, context = struct.unpack_from("<7i", data)
    head_size, offset, tensors = dim // heads, 28, []

    def take(name, *shape):
        nonlocal offset
        size = 4
        for extent in shape:
            size *= extent
        values = data[offset:offset + size]
        offset += size
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            values = half_split(values, 4 * shape[1], head_size)
        tensors.append((name, list(shape), values))

    def take_layers(name, *shape):
        for layer in range(layers):
            take(f"model.layers.{layer}.{NAMES[name]}.weight", *shape)

    take("model.embed_tokens.weight", vocabulary, dim)
    take_layers("attention_norm", dim)
    take_layers("wq", dim, dim)
    take_layers("wk", kv_heads * head_size, dim)
    take_layers("wv", kv_heads * head_size, dim)
    take_layers("wo", dim, dim)
    take_layers("ffn_norm", dim)
    take_layers("w1", hidden, dim)
    take_layers("w2", dim, hidden)
    take_layers("w3", hidden, dim)
    take("model.norm.weight", dim)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": dim,
              "intermediate_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
              "num_key_value_heads": kv_heads, "vocab_size": vocabulary, "max_position_embeddings": context,
              "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2}
    return config, tensors


def safetensors(tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, shape, values in tensors:
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def field(number, value):
    """A field of a Protocol Buffers message: bytes, a float or a whole number."""
    def varint(rest):
        return bytes([rest]) if rest < 128 else bytes([rest & 127 | 128]) + varint(rest >> 7)
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def tokenizer_model(data):
    """A llama2.c tokenizer.bin as SentencePiece's tokenizer.model."""
    model, offset, token = b"", 4, 0
    while offset < len(data):
        score, size = struct.unpack_from("<fi", data, offset)
        text = data[offset + 8:offset + 8 + size]
        offset += 8 + size
        kind = {0: 2, 1: 3, 2: 3}.get(token, 6 if token < 259 else 1)  # unknown, control, byte, normal
        text = text.strip(b"\n") if kind == 3 else text.replace(b" ", "▁".encode()) if kind == 1 else text
        model += field(1, field(1, text) + field(2, score) + field(3, kind))
        token += 1
    trainer = field(3, 2) + field(35, 1)  # BPE, byte fallback
    normalizer = field(3, 1) + field(4, 0) + field(5, 1)  # dummy prefix, extra spaces kept, spaces escaped
    return model + field(2, trainer) + field(3, normalizer)


def write_default_model(folder):
    folder.mkdir()
    config, tensors = tensors_of(MODEL.read_bytes())
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
    (folder / "tokenizer.model").write_bytes(tokenizer_model(TOKENIZER.read_bytes()))
    return folder
