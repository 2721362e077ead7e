// A benchmark's prompt in the model's chat format, and in the parts that a cache reads at different times.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/task.h"

namespace kvedit::eval {

/// What stands around a user's message, the opening of the reply included. Empty: no chat format.
struct ChatFormat {
  std::string before, after;
};
/// Empty where the model has none.
ChatFormat chat_format(const Model& model);

struct PromptTokens {
  std::vector<Token> context;   // the begin token and what opens the message included
  std::vector<Token> question;  // to the opening of the reply
  std::vector<Token> opening;   // of the answer

  size_t size() const { return context.size() + question.size() + opening.size(); }
};
PromptTokens tokens_of(const Model& model, const ChatFormat& format, std::string_view context,
                       std::string_view question, std::string_view opening);

/// The question in its place; own is question_after.
Question ordered_question(const PromptTokens& prompt, Order order);

}  // namespace kvedit::eval
