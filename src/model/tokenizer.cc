#include "model/tokenizer.h"

#include <llama.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "base/check.h"
#include "base/large_stack.h"
#include "model/ggml_log.h"
#include "model/gguf_file.h"
#include "model/utf8.h"

namespace kvedit {
namespace {

constexpr size_t kMaxTextBytes = std::numeric_limits<int32_t>::max() / 4;
constexpr size_t kQuotedBytes = 40;
constexpr size_t kBytesOnAnyStack = 64;
constexpr size_t kLeastStack = size_t{1} << 20;
constexpr size_t kStackAByte = 2048;

void initialize_libllama() {
  static std::once_flag once;
  std::call_once(once, [] { llama_backend_init(); });
}

/// libllama asserts, and so aborts, on what is refused here.
void check_vocabulary(const GgufFile& file) {
  const Metadata metadata = file.metadata();
  const auto kind = metadata.text("tokenizer.ggml.model");
  if (!kind) fail(ErrorCode::corrupt, "tokenizer", "metadata key \"tokenizer.ggml.model\" is missing");
  if (*kind != "gpt2" && *kind != "llama") {
    fail(ErrorCode::unsupported, "tokenizer", "vocabulary of kind \"", *kind,
         "\"; gpt2 and llama are supported");
  }
  const auto tokens = metadata.texts("tokenizer.ggml.tokens");
  if (!tokens || tokens->empty()) fail(ErrorCode::corrupt, "tokenizer", "the file has no vocabulary");
  std::unordered_set<std::string_view> seen;
  seen.reserve(tokens->size());
  for (size_t i = 0; i < tokens->size(); i++) {
    if (!seen.insert((*tokens)[i]).second) {
      fail(ErrorCode::corrupt, "tokenizer", "token ", i, " \"", (*tokens)[i],
           "\" is twice in the vocabulary");
    }
  }
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
  check_vocabulary(GgufFile(path));
  initialize_libllama();
  take_ggml_error();
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
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
}

int Tokenizer::size() const { return llama_vocab_n_tokens(vocab_); }

void Tokenizer::check_token(Token token) const {
  if (token < 0 || token >= size()) {
    fail(ErrorCode::out_of_range, "tokenizer", "token ", token, " is not in the vocabulary of ", size());
  }
}

std::vector<Token> Tokenizer::encode(std::string_view text, bool special, bool begin) const {
  check_text(text, "tokenizer");
  if (text.size() > kMaxTextBytes) {
    fail(ErrorCode::invalid_argument, "tokenizer", "a text of ", text.size(), " bytes, the limit is ",
         kMaxTextBytes);
  }
  // Not by libllama's add_special: that would append an end token too, and asserts on a file that asks for
  // a begin token but has none.
  std::vector<Token> tokens;
  if (begin && begin_token()) tokens.push_back(*begin_token());
  const size_t kept = tokens.size();
  if (text.empty()) return tokens;

  const auto length = static_cast<int32_t>(text.size());
  tokens.resize(kept + text.size() / 2 + 16);
  const auto read = [&] {
    const auto run = [&] {
      return llama_tokenize(vocab_, text.data(), length, tokens.data() + kept,
                            static_cast<int32_t>(tokens.size() - kept), false, special);
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
  return tokens;
}

std::string Tokenizer::piece(Token token) const {
  check_token(token);
  const auto attributes = llama_vocab_get_attr(vocab_, token);
  // libllama gives nothing for unused tokens, but a model may produce one.
  if ((attributes & (LLAMA_TOKEN_ATTR_UNUSED | LLAMA_TOKEN_ATTR_UNDEFINED)) != 0) {
    return llama_vocab_get_text(vocab_, token);
  }
  return guarded([&] {
    std::string text(32, '\0');
    int32_t size =
        llama_token_to_piece(vocab_, token, text.data(), static_cast<int32_t>(text.size()), 0, true);
    if (size < 0) {
      text.resize(static_cast<size_t>(-size));
      size = llama_token_to_piece(vocab_, token, text.data(), static_cast<int32_t>(text.size()), 0, true);
    }
    text.resize(static_cast<size_t>(std::max(size, 0)));
    return text;
  });
}

std::string Tokenizer::decode(std::span<const Token> tokens) const {
  std::string text;
  for (const Token token : tokens) text += piece(token);
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

bool Tokenizer::has_chat_template() const {
  const Message probe{.role = "user", .content = "x"};
  return !template_.empty() && apply(template_, {&probe, 1}, true).has_value();
}

void Tokenizer::set_chat_template(const std::string& name) {
  const auto names = builtin_templates();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    std::string list;
    for (const std::string& known : names) list += (list.empty() ? "" : ", ") + known;
    fail(ErrorCode::not_found, "tokenizer", "no chat template \"", name, "\"; there are ", list);
  }
  template_ = name;
}

std::string Tokenizer::format(std::span<const Message> messages, bool reply) const {
  if (template_.empty()) {
    fail(ErrorCode::unsupported, "tokenizer",
         "the model has no chat template; choose one with ModelOptions::chat_template");
  }
  for (const Message& message : messages) {
    if (message.role.empty()) fail(ErrorCode::invalid_argument, "tokenizer", "a message has an empty role");
    check_text(message.role, "tokenizer");
    check_text(message.content, "tokenizer");
  }
  auto text = guarded([&] { return apply(template_, messages, reply); });
  if (!text) {
    fail(ErrorCode::unsupported, "tokenizer", "the model's chat template is not one libllama knows: \"",
         utf8_prefix(template_, kQuotedBytes), "...\"; choose one with ModelOptions::chat_template");
  }
  return *text;
}

void check_text(std::string_view text, std::string_view where) {
  const size_t valid = valid_utf8_bytes(text);
  if (valid < text.size()) fail(ErrorCode::invalid_argument, where, "text is not UTF-8 at byte ", valid);
  const size_t nul = text.find('\0');
  if (nul != std::string_view::npos) fail(ErrorCode::invalid_argument, where, "text has a NUL at byte ", nul);
}

}  // namespace kvedit
