#include "eval/chat.h"

#include "session/model_impl.h"

namespace kvedit::eval {
namespace {

void append(std::vector<Token>& tokens, const std::vector<Token>& more) {
  tokens.insert(tokens.end(), more.begin(), more.end());
}

}  // namespace

ChatFormat chat_format(const Model& model) {
  if (!model.info().has_chat_template) return {};
  constexpr std::string_view kPlace = "kvedit-message";
  const std::vector<Message> message = {{"user", std::string(kPlace)}};
  const std::string text = model.format(message, true);
  const size_t at = text.find(kPlace);
  return {text.substr(0, at), text.substr(at + kPlace.size())};
}

PromptTokens tokens_of(const Model& model, const ChatFormat& format, std::string_view context,
                       std::string_view question, std::string_view opening) {
  const Tokenizer& tokenizer = dynamic_cast<const ModelImpl&>(model).tokenizer();
  const auto tokens = [&](std::string_view text, bool special, bool begin) {
    return text.empty() && !begin ? std::vector<Token>() : tokenizer.encode(text, special, begin);
  };
  PromptTokens prompt;
  if (!format.before.empty()) prompt.context = tokens(format.before, true, true);
  append(prompt.context, tokens(context, false, format.before.empty()));
  prompt.question = tokens(question, false, false);
  append(prompt.question, tokens(format.after, true, false));
  prompt.opening = tokens(opening, false, false);
  return prompt;
}

Question placed(const PromptTokens& prompt, Order order) {
  Question question;
  append(order == Order::question_first || order == Order::answer_first ? question.before : question.after,
         prompt.question);
  append(order == Order::answer_first ? question.before : question.after, prompt.opening);
  return question;
}

}  // namespace kvedit::eval
