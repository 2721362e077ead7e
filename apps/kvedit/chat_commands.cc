#include <algorithm>
#include <iostream>

#include "chat_state.h"
#include "common.h"
#include "conversation_file.h"
#include "edit.h"
#include "eraser.h"
#include "report.h"
#include "said.h"
#include "table.h"

namespace kvedit::cli {
namespace {

/// Prints its report to `out`, which is nowhere in a chat in JSON, and returns it.
using Command = Json(ChatState&, const std::string& arguments, std::ostream& out);

struct SlashCommand {
  std::string_view name, arguments, help;
  Command* run;
};

/// "text last" -> text, last word; the word is empty if there is only one.
std::pair<std::string, std::string> split_last(const std::string& text) {
  const size_t space = text.find_last_of(" \t");
  if (space == std::string::npos) return {text, ""};
  return {trim(text.substr(0, space)), text.substr(space + 1)};
}

// Returns the given eraser, else the shipped one, from the first method on that needs it.
std::shared_ptr<const Adapter> adapter_of(ChatState& chat, const std::string& method) {
  if (!chat.adapter) chat.adapter = eraser(*chat.session.model(), {}, {method});
  return chat.adapter;
}

Json found_json(const ChatState& chat, const Found& found) {
  return {{"begin", found.tokens.begin},
          {"end", found.tokens.end},
          {"place", place_name(chat.session.messages(), found.tokens)},
          {"text", found.text},
          {"differs", found.differs}};
}

// The argument of /erase: the tokens of texts, of a message, or of a document.
struct Wanted {
  std::vector<Found> places;  // to erase
  size_t others = 0;          // places that stay
};

// The last place; an error says what goes on from there.
Found find_last(const ChatState& chat, const std::string& text, int nth, FindOptions how) {
  try {
    return chat.session.find_one(text, nth, how);
  } catch (const Error& error) {
    const bool alike = error.code() == ErrorCode::not_found && !how.loose &&
                       !chat.session.find(text, {.loose = true}).empty();
    if (!alike) throw;
    throw extended(error, "; /erase --loose takes that one");
  }
}

Wanted find_wanted(const ChatState& chat, const std::string& text, bool all, FindOptions how) {
  if (text.starts_with("file:")) return {{chat.session.find_one(trim(read_file(text.substr(5))), 0, how)}, 0};
  const std::vector<Found> found = chat.session.find(text, how);
  if (found.empty() && names_message(text))
    return {{{find_message(chat.session, text).tokens, false, text}}, 0};
  if (all && !found.empty()) return {apart(found), 0};
  const size_t others = found.empty() ? 0 : found.size() - 1;
  return {{find_last(chat, text, others > 0 ? static_cast<int>(found.size()) : 0, how)}, others};
}

Json erase(ChatState& chat, const std::string& arguments, std::ostream& out) {
  std::string text = arguments;
  const auto flag = [&text](const std::string& name) {
    if (!text.starts_with(name + " ")) return false;
    text = trim(text.substr(name.size()));
    return true;
  };
  bool all = flag("--all");
  const FindOptions how{.loose = flag("--loose")};
  all |= flag("--all");
  if (text.empty()) refuse("chat", "/erase [--all] [--loose] TEXT [METHOD]");
  EraseOptions options;
  const auto [head, last] = split_last(text);
  // The whole line first: a text may end in a word that is also a method's name.
  if (is_method(last) && chat.session.find(text, how).empty()) {
    text = head;
    options.method = last;
  }
  if (text.size() > 1 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  const Wanted wanted = find_wanted(chat, text, all, how);
  std::vector<Span> spans;
  for (const Found& found : wanted.places) spans.push_back(found.tokens);
  ProgressLine line("erasing, tokens");
  options.adapter = adapter_of(chat, options.method);
  options.progress = line.progress();
  const EraseReport r = chat.session.erase(spans, options);
  for (size_t i = 0; i < r.spans.size(); i++) {
    out << "erased tokens " << r.spans[i].begin << ".." << r.spans[i].end << " \"" << one_line(r.text[i])
        << "\"\n";
  }
  out << r.method << " (" << to_string(r.exactness) << "): " << r.tokens_recomputed << " tokens recomputed, "
      << milliseconds(r.ms) << " ms, " << mebibytes(r.bytes_before) << " -> " << mebibytes(r.bytes_after)
      << " MiB\n";
  if (wanted.others > 0) {
    out << "that was the last of " << wanted.others + 1
        << "; the others stay (/find shows them, /erase --all takes all)\n";
  }
  const std::vector<MessageSpan> messages = chat.session.messages();
  for (const Found& place : r.repeated) {
    out << "still said at " << place_name(messages, place.tokens) << ": \"" << one_line(place.text) << "\"\n";
  }
  print_mentions(out, chat.session, r.mentions, Offer::chat);
  if (!r.note.empty()) out << r.note << "\n";
  if (r.exactness != Exactness::exact) out << "/verify measures what is left, /upgrade makes it exact\n";
  Json json = {{"method", r.method}, {"exactness", to_string(r.exactness)}, {"spans", Json::array()}};
  for (size_t i = 0; i < r.spans.size(); i++) {
    json["spans"].push_back({{"begin", r.spans[i].begin}, {"end", r.spans[i].end}, {"text", r.text[i]}});
  }
  json.update(erase_json(chat.session, r));
  return json;
}

Json verify(ChatState& chat, const std::string& arguments, std::ostream& out) {
  ProgressLine line("verifying, tokens");
  VerifyOptions options;
  if (!arguments.empty()) options.erased.push_back(arguments);
  options.progress = line.progress();
  const VerifyReport report = chat.session.verify(options);
  print_verified(out, "verify", report);
  print_mentions(out, chat.session, report.mentions, Offer::chat);
  return verify_json(chat.session, report);
}

Json upgrade(ChatState& chat, const std::string& arguments, std::ostream& out) {
  if (arguments == "start") {
    chat.session.upgrade();
    out << "reading in the background; /upgrade status tells how far it is\n";
  } else if (arguments == "cancel") {
    chat.session.cancel_upgrade();
  } else if (arguments == "status") {
    const UpgradeStatus s = chat.session.upgrade_status();
    out << to_string(s.state) << ", " << s.tokens_done << " of " << s.tokens_total << " tokens"
        << (s.error.empty() ? "" : ": " + s.error) << "\n";
  } else if (arguments.empty()) {
    ProgressLine line("upgrading, tokens");
    if (chat.session.upgrade_status().state != UpgradeState::running) chat.session.upgrade();
    const UpgradeStatus s = chat.session.finish_upgrade(line.progress());
    if (s.state == UpgradeState::done) {
      print_upgraded(out, "upgrade", s);
      print_mentions(out, chat.session, s.mentions, Offer::chat);
    }
  } else {
    refuse("chat", "/upgrade [start|status|cancel]");
  }
  return upgrade_json(chat.session, chat.session.upgrade_status());
}

Json sync(ChatState& chat, const std::string& arguments, std::ostream& out) {
  std::string file = arguments;
  SyncOptions options;
  const auto [head, last] = split_last(arguments);
  if (is_method(last) && !file_exists(file)) {
    file = head;
    options.method = last;
  }
  if (file.empty()) refuse("chat", "/sync FILE.json [METHOD]");
  const std::vector<Message> messages = read_messages(file);
  options.reply = false;  // the next thing said is a user's: an opened reply would stay empty
  options.adapter = adapter_of(chat, options.method);
  ProgressLine line("reading, tokens");
  options.progress = line.progress();
  const SyncReport r = chat.session.sync(messages, options);
  out << r.method << " (" << to_string(r.exactness) << "): " << r.tokens << " tokens, " << r.reused
      << " reused, " << r.erased << " erased, " << r.read << " read, " << milliseconds(r.ms) << " ms\n";
  if (!r.note.empty()) out << r.note << "\n";
  return {{"method", r.method},
          {"exactness", to_string(r.exactness)},
          {"tokens", r.tokens},
          {"reused", r.reused},
          {"erased", r.erased},
          {"read", r.read},
          {"recomputed", r.recomputed},
          {"edits", r.edits},
          {"note", r.note},
          {"ms", r.ms}};
}

Json messages(ChatState& chat, const std::string&, std::ostream& out) {
  const std::vector<MessageSpan> all = chat.session.messages();
  for (const MessageSpan& message : all)
    out << place_name(all, message.tokens) << ": " << one_line(message.text) << "\n";
  return {{"messages", messages_json(chat.session)}};
}

Json evict(ChatState& chat, const std::string& arguments, std::ostream& out) {
  const auto [policy, keep] = split_last(arguments);
  if (policy.empty() || keep.empty()) refuse("chat", "/evict POLICY KEEP, e.g. /evict snapkv 25%");
  const Budget budget = Budget::parse(keep);
  ProgressLine line("evicting, layers");
  EvictOptions options;
  options.undo = true;
  options.progress = line.progress();
  const EvictReport r = chat.session.evict(policy, budget, options);
  out << r.policy << ": kept " << percent(r.keep) << ", " << mebibytes(r.bytes_before) << " -> "
      << mebibytes(r.bytes_after) << " MiB (" << mebibytes(r.pinned_bytes) << " MiB held for /undo), "
      << milliseconds(r.score_ms + r.compact_ms) << " ms\n";
  return evict_json(r);
}

Json fork(ChatState& chat, const std::string&, std::ostream& out) {
  const Stopwatch watch;
  Session child = chat.session.fork();
  const double ms = watch.ms();
  chat.aside.push_back(std::move(chat.session));
  chat.session = std::move(child);
  out << "on fork " << chat.aside.size() << " now (" << milliseconds(ms) << " ms); /undo goes back\n";
  return {{"fork", chat.aside.size()}, {"ms", ms}};
}

Json undo(ChatState& chat, const std::string&, std::ostream& out) {
  if (chat.session.stats().undo_steps == 0 && !chat.aside.empty()) {
    chat.session = std::move(chat.aside.back());
    chat.aside.pop_back();
    out << "back to where /fork was, " << chat.session.stats().tokens << " tokens\n";
    return {{"undid", "fork"}, {"tokens", chat.session.stats().tokens}};
  }
  const UndoReport r = chat.session.undo();
  out << "undid " << r.what << ": " << r.tokens_restored << " tokens restored, " << r.tokens_dropped
      << " said since dropped\n";
  return {{"undid", r.what}, {"tokens_restored", r.tokens_restored}, {"tokens_dropped", r.tokens_dropped}};
}

Json redo(ChatState& chat, const std::string&, std::ostream& out) {
  const RedoReport r = chat.session.redo();
  out << "did again " << r.what << ": " << r.tokens << " tokens\n";
  return {{"redid", r.what}, {"tokens", r.tokens}};
}

Json read(ChatState& chat, const std::string& file, std::ostream& out) {
  if (file.empty()) refuse("chat", "/read FILE");
  const int tokens = read_document(chat, file);
  out << tokens << " tokens read; what you say next is about them\n";
  return {{"file", file}, {"tokens", tokens}};
}

Json system(ChatState& chat, const std::string& text, std::ostream& out) {
  if (text.empty()) refuse("chat", "/system TEXT");
  const int before = chat.session.stats().tokens;
  chat.prompt.append_system(chat.session, text);
  if (before == 0) chat.system = text;
  out << "said to the model as its system\n";
  return {{"tokens", chat.session.stats().tokens - before}};
}

Json clear(ChatState& chat, const std::string&, std::ostream& out) {
  Session empty(chat.session.model(), chat.options);
  set_cap(empty, chat.cap);
  if (!chat.system.empty()) chat.prompt.append_system(empty, chat.system);
  chat.aside.clear();
  chat.session = std::move(empty);
  out << "a new conversation" << (chat.system.empty() ? "\n" : ", with the same system message\n");
  return {{"tokens", chat.session.stats().tokens}};
}

Json regenerate(ChatState& chat, const std::string&, std::ostream& out) {
  const std::vector<MessageSpan> all = chat.session.messages();
  if (all.empty() || all.back().role != "assistant" || all.back().tokens.size() == 0)
    refuse("chat", "/regenerate: the last message is no reply");
  chat.session.erase(all.back().tokens, {.method = "drop"});  // exact, as nothing follows
  chat.session.append_messages({}, true);
  if (chat.generate.temperature > 0) {
    chat.generate.seed++;
  } else {
    out << "(without --temperature the likeliest words again)\n";
  }
  return reply_to_user(chat);
}

std::string named(ChatState& chat, const std::string& arguments) {
  std::string file = arguments.empty() ? chat.file : arguments;
  if (file.empty()) refuse("chat", "name a file");
  return file;
}

Json save(ChatState& chat, const std::string& arguments, std::ostream& out) {
  const std::string path = named(chat, arguments);
  chat.session.save(path);
  chat.file = path;
  out << "saved to " << path << "\n";
  return {{"file", path}};
}

Json load(ChatState& chat, const std::string& arguments, std::ostream& out) {
  const std::string path = named(chat, arguments);
  Session loaded = Session::load(chat.session.model(), path, chat.options);
  set_cap(loaded, chat.cap);
  chat.session = std::move(loaded);
  chat.file = path;
  out << "loaded " << chat.session.stats().tokens << " tokens from " << path << "\n";
  return {{"file", path}, {"tokens", chat.session.stats().tokens}};
}

Json stats(ChatState& chat, const std::string&, std::ostream& out) {
  print_stats(out, chat.session.stats());
  out << "forks kept aside: " << chat.aside.size() << "\n";
  Json json = stats_json(chat.session.stats());
  json["forks"] = chat.aside.size();
  return json;
}

Json find(ChatState& chat, const std::string& arguments, std::ostream& out) {
  if (arguments.empty()) refuse("chat", "/find TEXT");
  const std::vector<Found> all = chat.session.find(arguments, {.loose = true});
  const std::vector<MessageSpan> said = chat.session.messages();
  const std::vector<Token> tokens = chat.session.tokens();
  Json list = Json::array();
  for (const Found& found : all) {
    out << place_name(said, found.tokens)
        << (found.differs.empty() ? "" : " (other in " + found.differs + ")") << ": "
        << one_line(sentence_at(*chat.session.model(), tokens, found.tokens), 100) << "\n";
    list.push_back(found_json(chat, found));
  }
  if (all.empty()) {
    const std::optional<Found> near = chat.session.find_nearest(arguments);
    out << "not found"
        << (near ? "; the nearest, other in " + near->differs + ": " + one_line(near->text, 100) : "")
        << "\n";
  }
  return {{"found", std::move(list)}};
}

Command help;

constexpr SlashCommand slash_commands[] = {
    {"erase", "[--all] [--loose] TEXT [METHOD]",
     "erase the last place of TEXT (--all: all, --loose: whatever its case and spaces), a message, as "
     "user:2, "
     "or a document, as file:notes.txt (default: recompute)",
     erase},
    {"verify", "[TEXT]", "measure what erased texts left behind", verify},
    {"upgrade", "[start|status|cancel]", "make the cache exact again; start: in the background", upgrade},
    {"sync", "FILE.json [METHOD]", "make the conversation that of FILE (default: recompute)", sync},
    {"messages", "", "what was said, by role and number", messages},
    {"read", "FILE", "read a document; what you say next is about it", read},
    {"system", "TEXT", "say this to the model as its system", system},
    {"regenerate", "", "take the last reply back and make another", regenerate},
    {"evict", "POLICY KEEP", "cut the cache to KEEP (25%, 512, 8MiB); its pages stay for /undo", evict},
    {"fork", "", "keep this state aside and go on with a copy of it", fork},
    {"undo", "", "take back the last /erase or /evict and what was said since, else the /fork", undo},
    {"redo", "", "take back the last /undo, if nothing was said since", redo},
    {"save", "[FILE]", "save the conversation", save},
    {"load", "[FILE]", "load one in place of this", load},
    {"clear", "", "begin a new conversation", clear},
    {"stats", "", "tokens and memory", stats},
    {"find", "TEXT", "where TEXT stands", find},
    {"help", "", "this list", help},
    {"quit", "", "leave; so does Ctrl-D. Ctrl-C stops an answer", nullptr},
};

Json help(ChatState&, const std::string&, std::ostream& out) {
  constexpr size_t kColumn = 24;
  const size_t columns = std::max<size_t>(terminal_columns(), 80);
  Json list = Json::array();
  for (const SlashCommand& command : slash_commands) {
    std::string usage = "/";
    usage.append(command.name).append(" ").append(command.arguments);
    usage.resize(std::max<size_t>(usage.size() + 1, kColumn), ' ');
    out << usage << wrapped(command.help, columns, std::string(usage.size(), ' ')) << "\n";
    list.push_back(command.name);
  }
  return {{"commands", std::move(list)}};
}

}  // namespace

bool run_slash_command(ChatState& chat, std::string_view line) {
  line.remove_prefix(1);
  const std::string_view word = line.substr(0, line.find_first_of(" \t"));
  for (const SlashCommand& command : slash_commands) {
    if (command.name != word) continue;
    if (!command.run) return false;
    std::ostream nowhere(nullptr);
    const Json report = command.run(chat, trim(line.substr(word.size())), chat.json ? nowhere : std::cout);
    if (!chat.json) return true;
    Json named = {{"command", word}};
    named.update(report);
    print_json(named, -1);
    return true;
  }
  refuse("chat", "no command /" + std::string(word) + "; /help lists them");
}

}  // namespace kvedit::cli
