#include "model/tokenizer.h"

#include <llama.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/cancel.h"
#include "base/large_stack.h"
#include "model/ggml_log.h"
#include "model/gguf_file.h"
#include "model/utf8.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr size_t kMaxTextBytes = std::numeric_limits<int32_t>::max() / 4;
constexpr size_t kQuotedBytes = 40;
constexpr const char* kAddsSpace = "tokenizer.ggml.add_space_prefix";
constexpr const char* kWhiteSpace = " \t\n\v\f\r";
constexpr int kFoundInFormats = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN;
constexpr size_t kBytesOnAnyStack = 64;
constexpr size_t kLeastStack = size_t{1} << 20;
constexpr size_t kStackAByte = 2048;

void initialize_libllama() {
  static std::once_flag once;
  std::call_once(once, [] { llama_backend_init(); });
}

/// libllama asserts, and so aborts, where two tokens have one name; one that is empty is called "[EMPTY_7]".
void check_names(std::span<const std::string_view> tokens) {
  std::unordered_map<std::string, size_t> seen;
  seen.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); i++) {
    const std::string name = tokens[i].empty() ? cat("[EMPTY_", i, "]") : std::string(tokens[i]);
    const auto [before, fresh] = seen.try_emplace(name, i);
    if (fresh) continue;
    fail(ErrorCode::corrupt, "tokenizer", "token ", i, tokens[i].empty() ? ", which is empty," : "",
         " has the name of token ", before->second, ", \"", name, "\"");
  }
}

/// Returns the vocabulary's kind.
std::string check_vocabulary(const Metadata& metadata) {
  const auto kind = metadata.text("tokenizer.ggml.model");
  if (!kind) fail(ErrorCode::corrupt, "tokenizer", "metadata key \"tokenizer.ggml.model\" is missing");
  if (*kind != "gpt2" && *kind != "llama") {
    fail(ErrorCode::unsupported, "tokenizer", "vocabulary of kind \"", *kind,
         "\"; gpt2 and llama are supported");
  }
  // libllama asserts that no space is left to merge, and this pre-tokenizer, of embedding models, leaves
  // some.
  if (metadata.text("tokenizer.ggml.pre") == "whitespace") {
    fail(ErrorCode::unsupported, "tokenizer",
         "the pre-tokenizer \"whitespace\" drops white space, which generated text needs");
  }
  const auto tokens = metadata.texts("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty()) fail(ErrorCode::corrupt, "tokenizer", "the file has no vocabulary");
  check_names(*tokens);
  return *kind;
}

/// Calls libllama, whose vocabulary throws std exceptions on damaged entries.
template <typename Call>
auto guarded(const Call& call) {
  try {
    return call();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail(ErrorCode::corrupt, "tokenizer", "libllama's vocabulary failed: ", error.what());
  }
}

std::vector<std::string> builtin_templates() {
  std::vector<const char*> names(static_cast<size_t>(llama_chat_builtin_templates(nullptr, 0)));
  llama_chat_builtin_templates(names.data(), names.size());
  return {names.begin(), names.end()};
}

/// The text of a conversation, or nullopt where libllama does not know the template.
std::optional<std::string> apply(const std::string& chat_template, std::span<const Message> messages,
                                 bool reply) {
  std::vector<llama_chat_message> chat;
  size_t bytes = 256;
  for (const Message& message : messages) {
    chat.push_back({message.role.c_str(), message.content.c_str()});
    bytes += 2 * (message.role.size() + message.content.size()) + 64;
  }
  for (std::string text(bytes, '\0');;) {
    const int32_t size = llama_chat_apply_template(chat_template.c_str(), chat.data(), chat.size(), reply,
                                                   text.data(), static_cast<int32_t>(text.size()));
    if (size < 0) return std::nullopt;
    const bool fits = static_cast<size_t>(size) <= text.size();
    text.resize(static_cast<size_t>(size));
    if (fits) return text;
  }
}

}  // namespace

Tokenizer::Tokenizer(const std::string& path) {
  route_ggml_logs();
  {
    const GgufFile file(path);
    const bool sentencepiece = check_vocabulary(file.metadata()) == "llama";
    adds_space_ = sentencepiece && file.metadata().flag(kAddsSpace).value_or(true);
  }
  initialize_libllama();
  take_ggml_error();
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  // libllama would put the space in front of every piece of a text.
  llama_model_kv_override overrides[2] = {};
  overrides[0].tag = LLAMA_KV_OVERRIDE_TYPE_BOOL;
  std::string_view(kAddsSpace).copy(overrides[0].key, sizeof overrides[0].key - 1);
  params.kv_overrides = overrides;
  model_.reset(llama_model_load_from_file(path.c_str(), params), [](llama_model* model) {
    if (model != nullptr) llama_model_free(model);
  });
  if (!model_) {
    fail(ErrorCode::corrupt, "tokenizer", "libllama cannot read the vocabulary of \"", path,
         "\": ", take_ggml_error());
  }
  vocab_ = llama_model_get_vocab(model_.get());
  const char* chat_template = llama_model_chat_template(model_.get(), nullptr);
  if (chat_template != nullptr) template_ = chat_template;
  for (Token token = 0; token < size(); token++) {
    if (is_special(token)) specials_.push_back(token);
  }
  const auto length = [this](Token token) {
    return std::string_view(llama_vocab_get_text(vocab_, token)).size();
  };
  std::stable_sort(specials_.begin(), specials_.end(),
                   [&](Token a, Token b) { return length(a) > length(b); });
}

int Tokenizer::size() const { return llama_vocab_n_tokens(vocab_); }

void Tokenizer::check_token(Token token) const {
  if (token < 0 || token >= size()) {
    fail(ErrorCode::out_of_range, "tokenizer", "token ", token, " is not in the vocabulary of ", size());
  }
}

bool Tokenizer::spaced(Token behind) const {
  return adds_space_ && (behind == kNoToken || is_special(behind));
}

// As libllama does it: the longest name first, wherever it stands.
std::vector<Tokenizer::Fragment> Tokenizer::split(std::string_view text, int attributes) const {
  std::vector<Fragment> all = {{kNoToken, text}};
  for (const Token special : specials_) {
    if ((llama_vocab_get_attr(vocab_, special) & attributes) == 0) continue;
    const std::string_view name = llama_vocab_get_text(vocab_, special);
    if (text.find(name) == std::string_view::npos) continue;
    std::vector<Fragment> finer;
    for (Fragment rest : all) {
      size_t at = rest.special == kNoToken ? rest.text.find(name) : std::string_view::npos;
      for (; at != std::string_view::npos; at = rest.text.find(name)) {
        finer.push_back({kNoToken, rest.text.substr(0, at)});
        finer.push_back({special, name});
        rest.text.remove_prefix(at + name.size());
      }
      finer.push_back(rest);
    }
    all = std::move(finer);
  }
  return all;
}

// Text, and the special token behind it (kNoToken: none); some take the white space around them away.
void Tokenizer::add_special(std::vector<Token>& tokens, std::string& text, Token special,
                            Token behind) const {
  const auto attributes = [this](Token token) {
    return token == kNoToken ? 0 : static_cast<int>(llama_vocab_get_attr(vocab_, token));
  };
  const Token before = tokens.empty() ? behind : tokens.back();
  if ((attributes(before) & LLAMA_TOKEN_ATTR_RSTRIP) != 0)
    text.erase(0, std::min(text.find_first_not_of(kWhiteSpace), text.size()));
  if ((attributes(special) & LLAMA_TOKEN_ATTR_LSTRIP) != 0)
    text.erase(text.find_last_not_of(kWhiteSpace) + 1);
  add_text(tokens, text, before);
  text.clear();
  if (special != kNoToken) tokens.push_back(special);
}

// Plain text. libllama finds tokens that the vocabulary's makers defined in it, too.
void Tokenizer::add_text(std::vector<Token>& tokens, std::string_view text, Token behind) const {
  if (!adds_space_) return add_words(tokens, text);
  for (const Fragment& fragment : split(text, LLAMA_TOKEN_ATTR_USER_DEFINED)) {
    if (fragment.special == kNoToken && !fragment.text.empty())
      add_words(tokens, (spaced(behind) ? " " : "") + std::string(fragment.text));
    if (fragment.special != kNoToken) tokens.push_back(fragment.special);
    if (!tokens.empty()) behind = tokens.back();
  }
}

void Tokenizer::add_words(std::vector<Token>& tokens, std::string_view text) const {
  if (text.empty()) return;
  const auto length = static_cast<int32_t>(text.size());
  const size_t kept = tokens.size();
  tokens.resize(kept + text.size() / 2 + 16);
  const auto read = [&] {
    const auto run = [&] {
      return llama_tokenize(vocab_, text.data(), length, tokens.data() + kept,
                            static_cast<int32_t>(tokens.size() - kept), false, false);
    };
    int32_t count = run();
    if (count < 0) {
      tokens.resize(kept + static_cast<size_t>(-count));
      count = run();
    }
    if (count < 0) fail(ErrorCode::corrupt, "tokenizer", "libllama gives two lengths for one text");
    tokens.resize(kept + static_cast<size_t>(count));
  };
  // Some pre-tokenizers are std::regex, which recurses for each character of a word.
  if (text.size() <= kBytesOnAnyStack) {
    guarded(read);
  } else {
    guarded([&] { on_large_stack(kLeastStack + kStackAByte * text.size(), read); });
  }
}

std::vector<Token> Tokenizer::encode(std::span<const TextPart> parts, Token behind) const {
  check_cancel("tokenizer");
  size_t bytes = 0;
  for (const TextPart& part : parts) {
    check_text(part.text, "tokenizer");
    bytes += part.text.size();
  }
  if (bytes > kMaxTextBytes) {
    fail(ErrorCode::invalid_argument, "tokenizer", "a text of ", bytes, " bytes, the limit is ",
         kMaxTextBytes);
  }
  std::vector<Token> tokens;
  std::string text;  // since the last special token
  for (const TextPart& part : parts) {
    if (!part.special) {
      text += part.text;
      continue;
    }
    for (const Fragment& fragment : split(part.text, kFoundInFormats)) {
      if (fragment.special == kNoToken) {
        text += fragment.text;
      } else {
        add_special(tokens, text, fragment.special, behind);
      }
    }
  }
  add_special(tokens, text, kNoToken, behind);
  return tokens;
}

std::vector<Token> Tokenizer::encode(std::string_view text, bool special, bool begin) const {
  const TextPart whole = {text, special};
  std::vector<Token> tokens = encode({&whole, 1}, kNoToken);
  // Not by libllama's add_special: that would append an end token too, and asserts on a file that asks for
  // a begin token but has none.
  if (begin && begin_token()) tokens.insert(tokens.begin(), *begin_token());
  return tokens;
}

void Tokenizer::append_piece(std::string& text, Token token) const {
  check_token(token);
  const auto attributes = llama_vocab_get_attr(vocab_, token);
  // libllama gives nothing for unused tokens, but a model may produce one.
  if ((attributes & (LLAMA_TOKEN_ATTR_UNUSED | LLAMA_TOKEN_ATTR_UNDEFINED)) != 0) {
    text += llama_vocab_get_text(vocab_, token);
    return;
  }
  guarded([&] {
    const size_t before = text.size();
    const auto write = [&](size_t room) {
      text.resize(before + room);
      return llama_token_to_piece(vocab_, token, text.data() + before, static_cast<int32_t>(room), 0, true);
    };
    int32_t size = write(32);
    if (size < 0) size = write(static_cast<size_t>(-size));
    text.resize(before + static_cast<size_t>(std::max(size, 0)));
  });
}

std::string Tokenizer::piece(Token token) const {
  std::string text;
  append_piece(text, token);
  return text;
}

void Tokenizer::append_piece(std::string& text, Token token, Token behind) const {
  const size_t before = text.size();
  append_piece(text, token);
  if (text.size() > before && text[before] == ' ' && spaced(behind) && !is_special(token))
    text.erase(before, 1);
}

std::string Tokenizer::piece(Token token, Token behind) const {
  std::string text;
  append_piece(text, token, behind);
  return text;
}

std::string Tokenizer::decode(std::span<const Token> tokens, Token behind) const {
  std::string text;
  for (const Token token : tokens) {
    append_piece(text, token, behind);
    behind = token;
  }
  return text;
}

std::optional<Token> Tokenizer::begin_token() const {
  const Token first = llama_vocab_bos(vocab_);
  if (!llama_vocab_get_add_bos(vocab_) || first == LLAMA_TOKEN_NULL) return std::nullopt;
  return first;
}

bool Tokenizer::is_end(Token token) const {
  check_token(token);
  return llama_vocab_is_eog(vocab_, token);
}

bool Tokenizer::is_control(Token token) const {
  check_token(token);
  return llama_vocab_is_control(vocab_, token);
}

bool Tokenizer::is_special(Token token) const {
  check_token(token);
  return (llama_vocab_get_attr(vocab_, token) & (kFoundInFormats | LLAMA_TOKEN_ATTR_USER_DEFINED)) != 0;
}

bool Tokenizer::has_chat_template() const {
  const Message probe{.role = "user", .content = "x"};
  return !template_.empty() && apply(template_, {&probe, 1}, true).has_value();
}

void Tokenizer::set_chat_template(const std::string& name) {
  const auto names = builtin_templates();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    fail(ErrorCode::not_found, "tokenizer", "no chat template \"", name, "\"; there are ", join(names));
  }
  template_ = name;
}

std::string Tokenizer::format(std::span<const Message> messages, bool reply) const {
  if (template_.empty()) {
    fail(ErrorCode::unsupported, "tokenizer",
         "the model has no chat template; ModelOptions::chat_template chooses one");
  }
  for (size_t i = 0; i < messages.size(); i++) {
    const std::string place = cat("message ", i + 1);
    if (messages[i].role.empty()) fail(ErrorCode::invalid_argument, "tokenizer", place, " has an empty role");
    check_text(messages[i].role, "tokenizer", place);
    check_text(messages[i].content, "tokenizer", place);
  }
  check_cancel("tokenizer");
  auto text = guarded([&] { return apply(template_, messages, reply); });
  if (!text) {
    fail(ErrorCode::unsupported, "tokenizer", "the model's chat template is not one libllama knows: \"",
         utf8_prefix(template_, kQuotedBytes), "...\"; ModelOptions::chat_template chooses one");
  }
  return *text;
}

void check_text(std::string_view text, std::string_view where, std::string_view what) {
  const size_t valid = valid_utf8_bytes(text);
  if (valid < text.size()) fail(ErrorCode::invalid_argument, where, what, " is not UTF-8 at byte ", valid);
  const size_t nul = text.find('\0');
  if (nul != std::string_view::npos)
    fail(ErrorCode::invalid_argument, where, what, " has a NUL at byte ", nul);
}

}  // namespace kvedit
