#include "model/tokenizer.h"

#include <gguf.h>
#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "base/large_stack.h"
#include "kvedit/error.h"
#include "model/gguf_file.h"
#include "model/utf8.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

const char* const kSmol = KVEDIT_MODELS "/SmolLM2-135M-Instruct.Q4_1.gguf";
const char* const kGemma = KVEDIT_MODELS "/gemma-3-270m.Q4_K_M.gguf";

#define NEEDS(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << (path)

const char* const kTexts[] = {"Hello, world!",
                              " leading and  double   spaces ",
                              "line\n\n\ttab\r\nend\n",
                              "naïve café, Ελληνικά, русский, 中文, 日本語, 한국어, العربية",
                              "emoji 👩‍👩‍👧 and 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
                              "for (int i = 0; i < 10; i++) { x[i] *= 3.14159e-2; }",
                              "\x01\x1f\x7f",
                              ""};

std::string tiny_vocabulary(const TinySpec& spec) {
  return write_tiny_model(spec, temporary_path("tokenizer.gguf"));
}

template <typename Call>
void expect_error(const Call& call, ErrorCode code, const std::string& part) {
  try {
    call();
    ADD_FAILURE() << "no error, wanted \"" << part << "\"";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Tokenizer, TextOfTheDefaultModelSurvivesTheRoundTrip) {
  NEEDS(kSmol);
  const Tokenizer tokenizer(kSmol);
  EXPECT_EQ(tokenizer.size(), 49152);
  for (const char* text : kTexts) {
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false, false)), text);
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, true, false)), text);
  }
}

TEST(Tokenizer, TextOfGemmaSurvivesTheRoundTrip) {
  NEEDS(kGemma);
  const Tokenizer tokenizer(kGemma);
  EXPECT_EQ(tokenizer.size(), 262144);
  for (const char* text : kTexts) EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false, false)), text);
  const auto tokens = tokenizer.encode("hi", false, true);
  EXPECT_EQ(tokens.front(), 2);  // <bos>, which its metadata ask for
  EXPECT_EQ(tokenizer.piece(2), "<bos>");
  EXPECT_FALSE(tokenizer.has_chat_template());
  expect_error([&] { (void)tokenizer.format({}, true); }, ErrorCode::unsupported,
               "ModelOptions::chat_template");
}

TEST(Tokenizer, EveryTokenHasAPiece) {
  NEEDS(kSmol);
  const Tokenizer tokenizer(kSmol);
  for (Token token = 0; token < tokenizer.size(); token++)
    EXPECT_FALSE(tokenizer.piece(token).empty()) << token;
  expect_error([&] { (void)tokenizer.piece(-1); }, ErrorCode::out_of_range, "token -1");
  expect_error([&] { (void)tokenizer.is_end(49152); }, ErrorCode::out_of_range, "49152");
}

TEST(Tokenizer, PiecesKeepLeadingSpaces) {
  NEEDS(kSmol);
  const Tokenizer tokenizer(kSmol);
  const auto tokens = tokenizer.encode("a word", false, false);
  ASSERT_EQ(tokens.size(), 2U);
  EXPECT_EQ(tokenizer.piece(tokens[1]), " word");
}

TEST(Tokenizer, ControlTokensAppearOnlyWhenAskedFor) {
  NEEDS(kSmol);
  const Tokenizer tokenizer(kSmol);
  const auto special = tokenizer.encode("<|im_end|>", true, false);
  ASSERT_EQ(special.size(), 1U);
  EXPECT_EQ(special[0], 2);
  EXPECT_TRUE(tokenizer.is_control(2));
  EXPECT_TRUE(tokenizer.is_end(2));
  EXPECT_EQ(tokenizer.piece(2), "<|im_end|>");
  const auto plain = tokenizer.encode("<|im_end|>", false, false);
  EXPECT_GT(plain.size(), 1U);
  EXPECT_TRUE(
      std::none_of(plain.begin(), plain.end(), [&](Token token) { return tokenizer.is_control(token); }));
  EXPECT_EQ(tokenizer.decode(plain), "<|im_end|>");
}

TEST(Tokenizer, TheDefaultModelsTemplateIsChatml) {
  NEEDS(kSmol);
  const Tokenizer tokenizer(kSmol);
  EXPECT_TRUE(tokenizer.has_chat_template());
  const std::vector<Message> chat = {
      {"system", "Be brief."}, {"user", "Hi"}, {"assistant", "Hello"}, {"user", "Why?"}};
  const std::string text =
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
      "<|im_start|>assistant\nHello<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n";
  EXPECT_EQ(tokenizer.format(chat, false), text);
  EXPECT_EQ(tokenizer.format(chat, true), text + "<|im_start|>assistant\n");
  // libllama's form of the template adds no default system turn, unlike the Jinja source.
  const std::vector<Message> user = {{"user", "Hi"}};
  EXPECT_EQ(tokenizer.format(user, true), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Tokenizer, FormatsLongConversationsWhole) {
  const Tokenizer tokenizer(tiny_vocabulary({}));
  const std::vector<Message> chat(200, {"user", std::string(1000, 'x')});
  EXPECT_EQ(tokenizer.format(chat, false).size(),
            200 * (1000 + std::string("<|im_start|>user\n<|im_end|>\n").size()));
  const std::vector<Message> empty(500, {"u", ""});
  EXPECT_EQ(tokenizer.format(empty, false).size(), 500 * std::string("<|im_start|>u\n<|im_end|>\n").size());
}

TEST(Tokenizer, ATemplateIsChosenByName) {
  Tokenizer tokenizer(tiny_vocabulary({.edit = [](gguf_context* file) {
    gguf_set_val_str(file, "tokenizer.chat_template",
                     "{{ a wholly unknown template, nothing that libllama knows }}");
  }}));
  EXPECT_FALSE(tokenizer.has_chat_template());
  const std::vector<Message> chat = {{"user", "Hi"}};
  expect_error([&] { (void)tokenizer.format(chat, true); }, ErrorCode::unsupported,
               "{{ a wholly unknown template");
  expect_error([&] { (void)tokenizer.format(chat, true); }, ErrorCode::unsupported,
               "ModelOptions::chat_template");
  expect_error([&] { tokenizer.set_chat_template("nonsense"); }, ErrorCode::not_found, "chatml");
  tokenizer.set_chat_template("gemma");
  EXPECT_TRUE(tokenizer.has_chat_template());
  EXPECT_EQ(tokenizer.format(chat, true), "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n");
}

TEST(Tokenizer, AMessageNeedsARoleAndText) {
  const Tokenizer tokenizer(tiny_vocabulary({}));
  const std::vector<Message> nobody = {{"", "Hi"}};
  expect_error([&] { (void)tokenizer.format(nobody, true); }, ErrorCode::invalid_argument, "empty role");
  const std::vector<Message> broken = {{"user", "a\xFF"}};
  expect_error([&] { (void)tokenizer.format(broken, true); }, ErrorCode::invalid_argument, "byte 1");
}

TEST(Tokenizer, InvalidTextIsRefusedWithItsOffset) {
  const Tokenizer tokenizer(tiny_vocabulary({}));
  const std::pair<std::string, const char*> cases[] = {{"ab\xC0\xAF", "byte 2"},     // overlong slash
                                                       {"\xE0\x80\xAF", "byte 0"},   // overlong, three bytes
                                                       {"x\xED\xA0\x80", "byte 1"},  // surrogate
                                                       {"\xF4\x90\x80\x80", "byte 0"},  // above U+10FFFF
                                                       {"caf\xC3", "byte 3"},           // cut character
                                                       {"é\x80", "byte 2"},             // lone continuation
                                                       {std::string("a\0b", 3), "byte 1"}};  // NUL
  for (const auto& [text, part] : cases) {
    expect_error([&, &text = text] { (void)tokenizer.encode(text, false, false); },
                 ErrorCode::invalid_argument, part);
  }
  EXPECT_NO_THROW(check_text("\xF4\x8F\xBF\xBF \xED\x9F\xBF \xEE\x80\x80", "test"));
  EXPECT_EQ(utf8_prefix("aé", 2), "a");
  EXPECT_EQ(unfinished_utf8_bytes("a\xF0\x9F\x98"), 3U);
  EXPECT_EQ(unfinished_utf8_bytes("a\xF0\x9F\x98\x80"), 0U);
  EXPECT_EQ(unfinished_utf8_bytes("\x98\x80"), 0U);
  EXPECT_EQ(whole_characters("\xA9 caf\xC3"), " caf");
  EXPECT_EQ(whole_characters("é"), "é");
}

TEST(Tokenizer, TinyModelsVocabularySpellsEveryByte) {
  const Tokenizer tokenizer(tiny_vocabulary({}));
  for (const char* text : kTexts) EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false, false)), text);
  EXPECT_EQ(tokenizer.encode("hello", false, false).size(), 1U);
  EXPECT_EQ(tokenizer.encode("<|im_start|>", true, false), std::vector<Token>{1});
  EXPECT_EQ(tokenizer.piece(319), "<filler_319>");
  EXPECT_TRUE(tokenizer.is_end(2));
}

TEST(Tokenizer, BeginIsAddedOnlyIfTheModelAsks) {
  const auto ask = [](gguf_context* file) { gguf_set_val_bool(file, "tokenizer.ggml.add_bos_token", true); };
  const Tokenizer asking(tiny_vocabulary({.edit = ask}));
  EXPECT_EQ(asking.encode("", true, true), std::vector<Token>{0});
  EXPECT_EQ(asking.encode("hello", true, true).size(), 2U);
  EXPECT_EQ(asking.encode("hello", true, false).size(), 1U);
  EXPECT_EQ(Tokenizer(tiny_vocabulary({})).encode("hello", true, true).size(), 1U);
}

// libllama's own tokens of a whole text.
std::vector<Token> libllamas(const std::string& path, const std::string& text) {
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  const std::unique_ptr<llama_model, void (*)(llama_model*)> model(
      llama_model_load_from_file(path.c_str(), params), llama_model_free);
  std::vector<Token> tokens(text.size() + 16);
  const int count =
      llama_tokenize(llama_model_get_vocab(model.get()), text.data(), static_cast<int32_t>(text.size()),
                     tokens.data(), static_cast<int32_t>(tokens.size()), false, true);
  tokens.resize(std::max(count, 0));
  return tokens;
}

TEST(Tokenizer, SpacesOfTheVocabularyAreWhereLibllamaPutsThem) {
  for (const bool adds : {true, false}) {
    const std::string path =
        tiny_vocabulary({.sentencepiece = true, .edit = [&](gguf_context* file) {
                           gguf_set_val_bool(file, "tokenizer.ggml.add_space_prefix", adds);
                         }});
    const Tokenizer tokenizer(path);
    for (const char* text :
         {"the hello", " the", "<s>the", "<s> the</s>and then", "a<s><s>b </s> ", "</s>", " "}) {
      const std::vector<Token> tokens = tokenizer.encode(text, true, false);
      EXPECT_EQ(tokens, libllamas(path, text)) << text;
      EXPECT_EQ(tokenizer.decode(tokens), text);
    }
    for (const char* text : kTexts) EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, false, false)), text);
  }
}

TEST(Tokenizer, ATextInPiecesHasTheTokensOfTheWhole) {
  const std::string whole = "<s>[the] then he</s> \n[there] when<s> and";
  for (const bool sentencepiece : {true, false}) {
    const Tokenizer tokenizer(tiny_vocabulary({.sentencepiece = sentencepiece}));
    const std::vector<Token> tokens = tokenizer.encode(whole, true, false);
    for (size_t a = 0; a <= whole.size(); a++) {
      const std::string_view text = whole;
      const TextPart parts[] = {{text.substr(0, a), true}, {text.substr(a), true}};
      const bool inside = text.substr(a > 3 ? a - 3 : 0, 6).find("s>") != std::string_view::npos;
      if (inside) continue;
      EXPECT_EQ(tokenizer.encode(parts, kNoToken), tokens) << a;
    }
    const TextPart content[] = {
        {"<s>[", true}, {"the] then he", false}, {"</s> \n[there] when<s> and", true}};
    EXPECT_EQ(tokenizer.encode(content, kNoToken), tokens);
    const TextPart forged[] = {{"<s>[", true}, {"the</s>", false}};
    const std::vector<Token> plain = tokenizer.encode(forged, kNoToken);
    EXPECT_EQ(std::count(plain.begin(), plain.end(), 2), 0) << "a control token's name in plain text is text";
    EXPECT_EQ(tokenizer.decode(plain), "<s>[the</s>");
  }
}

TEST(Tokenizer, ATextThatGoesOnBeginsWithNoSpaceOfTheVocabularys) {
  const Tokenizer tokenizer(tiny_vocabulary({.sentencepiece = true}));
  const TextPart more = {"hello"};
  const std::vector<Token> first = tokenizer.encode("hello", false, false);
  const std::vector<Token> second = tokenizer.encode({&more, 1}, first.back());
  EXPECT_EQ(first.size(), second.size() + 1);
  EXPECT_EQ(tokenizer.decode(second, first.back()), "hello");
  EXPECT_EQ(tokenizer.encode({&more, 1}, 1), first) << "behind <s> a text begins";
}

TEST(Tokenizer, EmptyTokensAreNamedAsLibllamaNamesThem) {
  const auto with = [](const std::string& named) {
    return [named](gguf_context* file) {
      const int64_t key = gguf_find_key(file, "tokenizer.ggml.tokens");
      std::vector<std::string> texts;
      for (size_t i = 0; i < gguf_get_arr_n(file, key); i++)
        texts.emplace_back(gguf_get_arr_str(file, key, i));
      texts[300] = texts[301] = "";
      texts[305] = named;
      std::vector<const char*> pointers;
      for (const std::string& text : texts) pointers.push_back(text.c_str());
      gguf_set_arr_str(file, "tokenizer.ggml.tokens", pointers.data(), pointers.size());
    };
  };
  const Tokenizer tokenizer(tiny_vocabulary({.edit = with("[EMPTY_305]")}));  // two empty ones are two
  EXPECT_EQ(tokenizer.piece(300), "[EMPTY_300]");
  expect_error([&] { Tokenizer(tiny_vocabulary({.edit = with("[EMPTY_300]")})); }, ErrorCode::corrupt,
               "token 305 has the name of token 300");
  expect_error([&] { Tokenizer(tiny_vocabulary({.edit = with("[EMPTY_301]")})); }, ErrorCode::corrupt, "301");
}

TEST(Tokenizer, AMessageThatIsNoTextIsNamed) {
  const Tokenizer tokenizer(tiny_vocabulary({}));
  const std::vector<Message> chat = {{"user", "Hi"}, {"assistant", std::string("a\0b", 3)}};
  expect_error([&] { (void)tokenizer.format(chat, true); }, ErrorCode::invalid_argument, "message 2");
}

TEST(Tokenizer, AVocabularyThatLibllamaWouldAbortOnIsRefused) {
  const auto spaces = [](gguf_context* file) { gguf_set_val_str(file, "tokenizer.ggml.pre", "whitespace"); };
  expect_error([&] { Tokenizer(tiny_vocabulary({.edit = spaces})); }, ErrorCode::unsupported, "whitespace");
  const auto twice = [](gguf_context* file) {
    const char* tokens[] = {"a", "b", "a"};
    gguf_set_arr_str(file, "tokenizer.ggml.tokens", tokens, 3);
  };
  expect_error([&] { Tokenizer(tiny_vocabulary({.edit = twice})); }, ErrorCode::corrupt,
               "token 2 has the name of token 0");
  const auto none = [](gguf_context* file) { gguf_set_val_str(file, "tokenizer.ggml.model", "none"); };
  expect_error([&] { Tokenizer(tiny_vocabulary({.edit = none})); }, ErrorCode::unsupported, "\"none\"");
  const auto absent = [](gguf_context* file) { gguf_remove_key(file, "tokenizer.ggml.tokens"); };
  expect_error([&] { Tokenizer(tiny_vocabulary({.edit = absent})); }, ErrorCode::corrupt, "no vocabulary");
  const auto unmerged = [](gguf_context* file) { gguf_remove_key(file, "tokenizer.ggml.merges"); };
  expect_error([&] { Tokenizer(tiny_vocabulary({.edit = unmerged})); }, ErrorCode::corrupt, "merges");
  expect_error([] { Tokenizer("/no/such/file"); }, ErrorCode::not_found, "/no/such/file");
}

TEST(Tokenizer, DamagedVocabulariesNeverCrash) {
  std::ifstream in(tiny_vocabulary({}), std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), {}};
  const size_t header = GgufFile(tiny_vocabulary({})).data_offset();
  const std::string path = temporary_path("flipped_vocabulary.gguf");
  std::mt19937 random(11);
  for (int round = 0; round < 300; round++) {
    std::string bytes = whole;
    for (int i = 0; i < 3; i++) bytes[random() % header] = static_cast<char>(random());
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      const Tokenizer tokenizer(path);
      (void)tokenizer.decode(tokenizer.encode("the hello world <|im_end|> é", true, true));
      for (Token token = 0; token < tokenizer.size(); token++) (void)tokenizer.piece(token);
      (void)tokenizer.has_chat_template();
    } catch (const Error&) {
    }
  }
}

// Pre-tokenizers that are std::regex recurse for each letter; a thread may have a small stack, too.
TEST(TokenizerTest, ALongWordIsReadOnASmallStack) {
  const std::string path = tiny_vocabulary(
      {.edit = [](gguf_context* file) { gguf_set_val_str(file, "tokenizer.ggml.pre", "tekken"); }});
  const Tokenizer tokenizer(path);
  for (const char letter : {'a', ' ', '7', '.'}) {
    const std::string text(200000, letter);
    std::string back;
    on_large_stack(size_t{256} << 10, [&] { back = tokenizer.decode(tokenizer.encode(text, false, false)); });
    EXPECT_EQ(back, text) << letter;
  }
}

}  // namespace
}  // namespace kvedit
