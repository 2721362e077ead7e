// How text becomes a conversation: the pieces of the model's chat format around what a user writes,
// so that only the format's own control tokens are recognised, never some that stand in the text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kvedit/session.h"

namespace kvedit::cli {

class Prompt {
 public:
  /// raw: plain text, "\n\nQuestion: ...\nAnswer:", as for a model without a chat template.
  Prompt(const Model& model, bool raw);
  bool raw() const { return raw_; }

  /// Appends a context that questions will follow: inside a user turn that stays open.
  AppendReport append_context(Session& session, std::string_view context,
                              const Progress& progress = {}) const;
  /// Appends a question about the context, and the opening of the reply. Another kind of session (a
  /// finished chat, plain text) is continued as it is.
  void append_question(Session& session, std::string_view question, const Progress& progress = {}) const;
  /// Appends the system's text to an empty session; the turn of a user must follow.
  void append_system(Session& session, std::string_view system) const;
  /// Appends a whole turn of the user and the opening of the reply. Chat format only.
  void append_user(Session& session, std::string_view text, const Progress& progress = {}) const;

  /// Returns the stop strings of an answer to a question.
  std::vector<std::string> stop() const;

 private:
  enum class Place { empty, after_system, open_turn, after_reply, plain };
  Place place(const Session& session) const;

  bool raw_;
  std::string opening_;         // before the first user's text
  std::string system_opening_;  // before the system's text
  std::string after_system_;    // between it and the user's
  std::string reply_;           // after the user's text: its closing and the opening of the reply
  std::string next_;            // between a reply and the next user's text
};

struct Answer {
  std::string question;
  std::string text;
  double ms = 0;  // time of question and answer
};

/// Generates the reply to an appended question, greedily. Throws Error(cancelled) at Ctrl-C.
std::string reply(Session& session, const Prompt& prompt, int max_tokens);
/// Asks on a fork of the session, greedily; the session stays as it is. Throws Error(cancelled).
Answer ask(const Session& session, const Prompt& prompt, const std::string& question, int max_tokens);

}  // namespace kvedit::cli
