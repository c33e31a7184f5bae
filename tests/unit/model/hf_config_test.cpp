#include "model/tools/hf_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/model/hf_files.h"

namespace bareflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

JsonDocument document(const std::string& text) { return JsonDocument::parse(text, "config.json").take(); }

/// Members of a config.json, in place of those that a good one has.
std::string config_with(const std::map<std::string, std::string>& changes) {
    std::map<std::string, std::string> members = {{"model_type", "\"llama\""},  {"hidden_size", "16"},
                                                  {"intermediate_size", "18"},  {"num_hidden_layers", "2"},
                                                  {"num_attention_heads", "4"}, {"vocab_size", "300"},
                                                  {"num_key_value_heads", "2"}, {"rms_norm_eps", "1e-5"}};
    for (const auto& [key, value] : changes) members[key] = value;
    std::string text;
    for (const auto& [key, value] : members) {
        if (!value.empty()) text += (text.empty() ? "\"" : ",\"") + key + "\":" + value;
    }
    return "{" + text + "}";
}
ModelConfig config_of(const std::map<std::string, std::string>& changes) {
    const JsonDocument json = document(config_with(changes));
    auto parsed = parse_hf_config(json.root());
    EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message());
    return parsed.ok() ? parsed.value().model : ModelConfig{};
}
std::string refusal(const std::map<std::string, std::string>& changes) {
    const JsonDocument json = document(config_with(changes));
    const auto parsed = parse_hf_config(json.root());
    return parsed.ok() ? "" : std::string(parsed.error().message());
}
std::string sampling_of(const std::string& text) {
    const JsonDocument json = document(text);
    const auto parsed = parse_hf_generation(json.root());
    return parsed.ok() ? parsed.value().sampling_defaults : std::string(parsed.error().message());
}

TEST(HfConfig, HasTheDefaultsOfLlamaConfigForWhatIsLeftOut) {
    const ModelConfig config = config_of({{"num_key_value_heads", ""}, {"rms_norm_eps", ""}});
    EXPECT_EQ(config.num_kv_heads, 4u);
    EXPECT_EQ(config.head_size, 4u);
    EXPECT_EQ(config.context_length, 2048u);
    EXPECT_EQ(config.rope_theta, 10000.0f);
    EXPECT_EQ(config.norm_eps, 1e-6f);
    EXPECT_EQ(config.rope_scaling, 0.0f);
    EXPECT_FALSE(config.tied_embedding);
}

TEST(HfConfig, ReadsWhatIsSaid) {
    const ModelConfig config = config_of({{"head_dim", "8"},
                                          {"max_position_embeddings", "512"},
                                          {"rope_theta", "500000"},
                                          {"tie_word_embeddings", "true"},
                                          {"attention_bias", "false"},
                                          {"rope_scaling", "null"},
                                          {"architectures", "[\"LlamaForCausalLM\"]"}});
    EXPECT_EQ(config.head_size, 8u);
    EXPECT_EQ(config.query_size(), 32u);
    EXPECT_EQ(config.context_length, 512u);
    EXPECT_EQ(config.rope_theta, 500000.0f);
    EXPECT_TRUE(config.tied_embedding);
}

TEST(HfConfig, ReadsLinearRopeScalingInEachOfItsSpellings) {
    EXPECT_EQ(config_of({{"rope_scaling", R"({"type":"linear","factor":2.0})"}}).rope_scaling, 2.0f);
    EXPECT_EQ(config_of({{"rope_scaling", R"({"rope_type":"linear","factor":4})"}}).rope_scaling, 4.0f);
    EXPECT_EQ(config_of({{"rope_scaling", R"({"rope_type":"default"})"}}).rope_scaling, 0.0f);
    const ModelConfig newer =
        config_of({{"rope_parameters", R"({"rope_type":"linear","factor":8.0,"rope_theta":5e5})"}});
    EXPECT_EQ(newer.rope_scaling, 8.0f);
    EXPECT_EQ(newer.rope_theta, 500000.0f);
}

TEST(HfConfig, RefusesWhatItCannotRunNamingTheField) {
    const struct {
        const char* key;
        const char* value;
        const char* expected;
    } kCases[] = {
        {"model_type", "\"mistral\"", "config.json: model_type is \"mistral\"; only \"llama\""},
        {"model_type", "", "config.json: model_type is missing"},
        {"architectures", "[\"LlamaForSequenceClassification\"]", "architectures: has no LlamaForCausalLM"},
        {"hidden_act", "\"gelu\"", "hidden_act is \"gelu\"; only \"silu\""},
        {"attention_bias", "true", "attention_bias: must be false"},
        {"mlp_bias", "true", "mlp_bias: must be false"},
        {"mlp_bias", "0", "mlp_bias: must be true or false"},
        {"quantization_config", "{}", "quantization_config: a quantised checkpoint"},
        {"rope_scaling", R"({"rope_type":"llama3","factor":8})",
         "rope_scaling.rope_type is \"llama3\"; only \"linear\""},
        {"rope_scaling", R"({"type":"dynamic","factor":8})", "rope_scaling.type is \"dynamic\""},
        {"rope_scaling", R"({"type":"linear"})", "rope_scaling.factor is missing"},
        {"rope_scaling", R"({"type":"linear","factor":0})", "rope_scaling.factor must be a number"},
        {"rope_scaling", "2", "rope_scaling: must be an object"},
        {"partial_rotary_factor", "0.5", "partial_rotary_factor: must be 1"},
        {"rope_theta", "-1", "rope_theta must be a number"},
        {"rope_theta", "0", "rope_theta must be a number"},
        {"rms_norm_eps", "\"x\"", "rms_norm_eps must be a number"},
        {"hidden_size", "", "hidden_size is missing"},
        {"hidden_size", "0", "hidden_size is 0, must be 1 to 16777216"},
        {"hidden_size", "-16", "hidden_size must be a whole number"},
        {"hidden_size", "16.0", "hidden_size must be a whole number"},
        {"hidden_size", "18446744073709551616", "hidden_size must be a whole number"},
        {"hidden_size", "18", "hidden_size, 18, is no multiple of num_attention_heads, 4"},
        {"hidden_size", "20", "the heads' size, 5, is odd"},
        {"head_dim", "3", "the heads' size, 3, is odd"},
        {"head_dim", "16777216", "4 heads of 16777216 are more than"},
        {"num_hidden_layers", "4097", "num_hidden_layers is 4097, must be 1 to 4096"},
        {"num_key_value_heads", "3", "num_attention_heads, 4, is no multiple of num_key_value_heads, 3"},
        {"num_key_value_heads", "8", "num_key_value_heads is 8, must be 1 to 4"},
        {"vocab_size", "16777217", "vocab_size is 16777217"},
        {"max_position_embeddings", "0", "max_position_embeddings is 0"},
        {"eos_token_id", "[2,-3]", "eos_token_id[1] must be a whole number"},
        {"tie_word_embeddings", "\"yes\"", "tie_word_embeddings: must be true or false"},
    };
    for (const auto& [key, value, expected] : kCases)
        EXPECT_THAT(refusal({{key, value}}), HasSubstr(expected));
}

TEST(HfConfig, TakesTheFirstOfSeveralEndTokens) {
    const JsonDocument json = document(config_with({{"eos_token_id", "[7,2]"}, {"bos_token_id", "3"}}));
    const HfConfig config = parse_hf_config(json.root()).take();
    EXPECT_EQ(config.eos_id, 7u);
    EXPECT_EQ(config.bos_id, 3u);
}

TEST(HfConfig, MakesOptionsOfTheGenerationConfig) {
    EXPECT_EQ(sampling_of("{}"), "");
    EXPECT_EQ(sampling_of(R"({"do_sample":true,"temperature":0.6,"top_p":0.9,"top_k":50,"min_p":0.05,)"
                          R"("repetition_penalty":1.1,"max_length":4096})"),
              "temp=0.6\ntop-k=50\ntop-p=0.9\nmin-p=0.05\nrepeat-penalty=1.1\n");
    EXPECT_EQ(sampling_of(R"({"temperature":1,"top_k":null})"), "temp=1\n");
    EXPECT_EQ(sampling_of(R"({"do_sample":false,"temperature":0.6,"repetition_penalty":1.2})"),
              "temp=0\nrepeat-penalty=1.2\n");
    EXPECT_THAT(sampling_of(R"({"temperature":-1})"), HasSubstr("temperature must be a number from 0"));
    EXPECT_THAT(sampling_of(R"({"temperature":"hot"})"), HasSubstr("temperature must be a number"));
    EXPECT_THAT(sampling_of(R"({"top_p":1.5})"), HasSubstr("top_p must be a number"));
    EXPECT_THAT(sampling_of(R"({"top_k":1.5})"), HasSubstr("top_k must be a whole number"));
    EXPECT_THAT(sampling_of(R"({"repetition_penalty":0})"), HasSubstr("repetition_penalty must be a number"));
}

TEST(HfConfig, ReadsTheTokenizerConfigInItsForms) {
    const auto parsed = [](const std::string& text) {
        const JsonDocument json = document(text);
        return parse_hf_tokenizer_config(json.root()).take();
    };
    EXPECT_EQ(parsed(R"({"chat_template":"{{ x }}","bos_token":"<s>"})").chat_template, "{{ x }}");
    EXPECT_EQ(parsed(R"({"bos_token":{"content":"<s>","special":true}})").bos_token, "<s>");
    EXPECT_EQ(parsed(R"({"chat_template":[{"name":"rag","template":"A"},{"name":"default","template":"B"}]})")
                  .chat_template,
              "B");
    const HfTokenizerConfig added = parsed(
        R"({"added_tokens_decoder":{"10":{"content":"b","special":false},"9":{"content":"a","special":true}}})");
    ASSERT_EQ(added.added.size(), 2u);
    EXPECT_EQ(added.added[0].id, 9u);
    EXPECT_EQ(added.added[1].text, "b");
    EXPECT_FALSE(added.added[1].special);
    const JsonDocument wrong = document(R"({"added_tokens_decoder":{"x":{"content":"b"}}})");
    EXPECT_THAT(std::string(parse_hf_tokenizer_config(wrong.root()).error().message()),
                HasSubstr("added_tokens_decoder.x: its key must be a token's id"));
}

}  // namespace
}  // namespace bareflow
