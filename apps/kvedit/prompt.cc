#include "prompt.h"

#include <algorithm>

#include "common.h"
#include "interrupt.h"
#include "table.h"

namespace kvedit::cli {
namespace {

/// The parts of a formatted conversation around the contents of its messages, in order.
std::vector<std::string> around(const Model& model, const std::vector<std::string>& roles, bool reply) {
  auto marker = [](size_t i) { return "@@kvedit-" + std::to_string(i) + "@@"; };
  std::vector<Message> messages;
  for (size_t i = 0; i < roles.size(); ++i) messages.push_back({roles[i], marker(i)});
  const std::string text = model.format(messages, reply);
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t i = 0; i < roles.size(); ++i) {
    const size_t at = text.find(marker(i), begin);
    if (at == std::string::npos) {
      throw Error(ErrorCode::unsupported, "cli",
                  "this chat template changes or omits a " + roles[i] + " message");
    }
    parts.push_back(text.substr(begin, at - begin));
    begin = at + marker(i).size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

}  // namespace

Prompt::Prompt(const Model& model, bool raw) : raw_(raw || !model.info().has_chat_template) {
  if (raw_) return;
  const auto parts = around(model, {"user", "assistant", "user"}, true);
  opening_ = parts[0];
  next_ = parts[2];
  reply_ = parts[3];
  try {
    const auto with_system = around(model, {"system", "user"}, true);
    system_opening_ = with_system[0];
    after_system_ = with_system[1];
  } catch (const Error&) {
    // A format without system messages: append_system() says so.
  }
}

Prompt::Place Prompt::place(const Session& session) const {
  if (session.stats().tokens == 0) return Place::empty;
  if (raw_) return Place::plain;
  if (!session.messages().empty()) {
    return session.messages().back().role == "assistant" ? Place::after_reply : Place::after_system;
  }
  // Version 0.1 saved contexts without messages. Tokens are compared: a marker's name in a text is text.
  const Model& model = *session.model();
  const std::vector<Token> tokens = session.tokens();
  const auto last = [&](const std::string& piece) {
    const std::vector<Token> wanted = model.tokenize(piece, true);
    const auto found = std::find_end(tokens.begin(), tokens.end(), wanted.begin(), wanted.end());
    return wanted.empty() || found == tokens.end() ? -1 : static_cast<int>(found - tokens.begin());
  };
  if (const int reply = last(reply_); reply >= 0) {
    return last(next_) > reply ? Place::open_turn : Place::after_reply;
  }
  return last(opening_) >= 0 ? Place::open_turn : Place::plain;
}

AppendReport Prompt::append_context(Session& session, std::string_view context,
                                    const Progress& progress) const {
  if (raw_) return session.append(context, false, progress);
  return session.append_open({"user", std::string(context)}, progress);
}

void Prompt::append_question(Session& session, std::string_view question, const Progress& progress) const {
  switch (place(session)) {
    case Place::plain:
      session.append("\n\nQuestion: " + std::string(question) + "\nAnswer:", false, progress);
      return;
    case Place::empty:
      if (raw_) {
        session.append("Question: " + std::string(question) + "\nAnswer:", false, progress);
        return;
      }
      [[fallthrough]];
    default:
      append_user(session, question, progress);
  }
}

void Prompt::append_system(Session& session, std::string_view system) const {
  if (raw_ || system_opening_.empty()) {
    throw Error(ErrorCode::unsupported, "cli", "this model's chat format has no system message");
  }
  const Message message{"system", std::string(system)};
  session.append_messages({&message, 1}, false);
}

void Prompt::append_user(Session& session, std::string_view text, const Progress& progress) const {
  if (text.empty()) throw Error(ErrorCode::invalid_argument, "cli", "an empty message");
  if (place(session) == Place::open_turn) {  // a context was read: the text goes on in its turn
    const Model& model = *session.model();
    std::vector<Token> turn = model.tokenize("\n\n" + std::string(text), false);
    const std::vector<Token> reply = model.tokenize(reply_, true);
    turn.insert(turn.end(), reply.begin(), reply.end());
    session.append_tokens(turn, progress);  // at once: the turn is there wholly or not at all
    return;
  }
  const Message message{"user", std::string(text)};
  session.append_messages({&message, 1}, true, progress);
}

std::vector<std::string> Prompt::stop() const {
  if (raw_) return {"\n"};
  return {};
}

std::string reply(Session& session, const Prompt& prompt, int max_tokens) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.stop = prompt.stop();
  options.on_text = [](std::string_view) { return !interrupted(); };
  const Generation generation = session.generate(options);
  if (generation.stop == StopReason::cancelled) throw Error(ErrorCode::cancelled, "cli", "interrupted");
  if (generation.stop == StopReason::error) throw Error(generation.error_code, "cli", generation.error);
  return trim(generation.text);
}

Answer ask(const Session& session, const Prompt& prompt, const std::string& question, int max_tokens) {
  const Stopwatch watch;
  Session fork = session.fork();
  {
    ProgressLine line("reading the question, tokens");
    prompt.append_question(fork, question, line.progress());
  }
  std::string text = reply(fork, prompt, max_tokens);
  return {question, std::move(text), watch.ms()};
}

}  // namespace kvedit::cli
