// A benchmark's prompt in the model's chat format, in the parts that a cache reads at different times.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "eval/task.h"

namespace kvedit::eval {

/// The text around a user's message, with the opening of the reply. Empty: no chat format.
struct ChatFormat {
  std::string before, after;
};
/// Returns the model's chat format, empty where it has none.
ChatFormat chat_format(const Model& model);

struct PromptTokens {
  std::vector<Token> context;   // the begin token, the opening of the message, and the context
  std::vector<Token> question;  // the question and the opening of the reply
  std::vector<Token> opening;   // the beginning of the answer

  size_t size() const { return context.size() + question.size() + opening.size(); }
};
PromptTokens tokens_of(const Model& model, const ChatFormat& format, std::string_view context,
                       std::string_view question, std::string_view opening);

/// Orders the parts of a question; `own` is question_after.
Question ordered_question(const PromptTokens& prompt, Order order);

}  // namespace kvedit::eval
