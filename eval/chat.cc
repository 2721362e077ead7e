#include "eval/chat.h"

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
  PromptTokens prompt;
  Token behind = kNoToken;
  const auto add = [&](std::vector<Token>& tokens, std::string_view text, bool special) {
    const TextPart part = {text, special};
    append(tokens, model.tokenize({&part, 1}, behind));
    if (!tokens.empty()) behind = tokens.back();
  };
  if (const auto begin = model.begin_token()) prompt.context.push_back(*begin);
  add(prompt.context, format.before, true);
  add(prompt.context, context, false);
  add(prompt.question, question, false);
  add(prompt.question, format.after, true);
  add(prompt.opening, opening, false);
  return prompt;
}

Question ordered_question(const PromptTokens& prompt, Order order) {
  Question question;
  append(order == Order::question_first || order == Order::answer_first ? question.before : question.after,
         prompt.question);
  append(order == Order::answer_first ? question.before : question.after, prompt.opening);
  return question;
}

}  // namespace kvedit::eval
