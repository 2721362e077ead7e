#include <algorithm>
#include <iostream>
#include <map>

#include "chat_state.h"
#include "common.h"
#include "edit.h"
#include "eraser.h"
#include "table.h"

namespace kvedit::cli {
namespace {

struct SlashCommand {
  std::string_view name;
  std::string_view arguments;
  std::string_view help;
  void (*run)(ChatState&, const std::string& arguments);
};

/// "text last" -> text, last word; the word is empty if there is only one.
std::pair<std::string, std::string> split_last(const std::string& text) {
  const size_t space = text.find_last_of(" \t");
  if (space == std::string::npos) return {text, ""};
  return {trim(text.substr(0, space)), text.substr(space + 1)};
}

// What was given; else the shipped one, from the first method on that needs it.
std::shared_ptr<const Adapter> adapter_of(ChatState& chat, const std::string& method) {
  if (!chat.adapter) chat.adapter = eraser(*chat.session.model(), {}, {method});
  return chat.adapter;
}

// "user:2", which may stand in place of a text
bool names_message(const std::string& text) {
  const size_t colon = text.rfind(':');
  return colon != std::string::npos && colon + 1 < text.size() &&
         text.find_first_not_of("-0123456789", colon + 1) == std::string::npos;
}

void erase(ChatState& chat, const std::string& arguments) {
  if (arguments.empty()) refuse("chat", "/erase TEXT [METHOD]");
  EraseOptions options;
  std::string text = arguments;
  const auto [head, last] = split_last(arguments);
  const auto methods = erase_methods();
  const std::string base = base_name(last);
  const bool method =
      std::any_of(methods.begin(), methods.end(), [&](const auto& m) { return m.name == base; });
  // The whole line first: a text may end in a word that is also a method's name.
  if (method && chat.session.find(arguments).empty()) {
    text = head;
    options.method = last;
  }
  if (text.size() > 1 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  const std::vector<Found> all = chat.session.find(text);
  const Found found = all.empty() && names_message(text)
                          ? Found{find_message(chat.session, text).tokens, false, text}
                          : chat.session.find_one(text, all.size() > 1 ? static_cast<int>(all.size()) : 0);
  ProgressLine line("erasing, tokens");
  options.adapter = adapter_of(chat, options.method);
  options.progress = line.progress();
  const EraseReport r = chat.session.erase(found.tokens, options);
  std::cout << "erased tokens " << found.tokens.begin << ".." << found.tokens.end << " \""
            << one_line(found.text) << "\"" << (found.widened ? " (widened to whole tokens)" : "") << "\n"
            << r.method << " (" << name(r.exactness) << "): " << r.tokens_recomputed << " tokens recomputed, "
            << milliseconds(r.ms) << " ms, " << mebibytes(r.bytes_before) << " -> "
            << mebibytes(r.bytes_after) << " MiB\n";
  if (all.size() > 1) {
    std::cout << "that was the last of " << all.size() << "; the others stay (/find shows them)\n";
  }
  for (const Found& place : r.repeated) {
    std::cout << "still said at tokens " << place.tokens.begin << ".." << place.tokens.end << ": \""
              << one_line(place.text) << "\"\n";
  }
  if (!r.note.empty()) std::cout << r.note << "\n";
  if (r.exactness != Exactness::exact)
    std::cout << "/verify measures what is left, /upgrade makes it exact\n";
}

void verify(ChatState& chat, const std::string& arguments) {
  ProgressLine line("verifying, tokens");
  VerifyOptions options;
  if (!arguments.empty()) options.erased.push_back(arguments);
  options.progress = line.progress();
  print_verified("verify", chat.session.verify(options));
}

void upgrade(ChatState& chat, const std::string& arguments) {
  if (arguments == "start") {
    chat.session.upgrade();
    std::cout << "reading in the background; /upgrade status tells how far it is\n";
  } else if (arguments == "cancel") {
    chat.session.cancel_upgrade();
  } else if (arguments == "status") {
    const UpgradeStatus s = chat.session.upgrade_status();
    std::cout << name(s.state) << ", " << s.tokens_done << " of " << s.tokens_total << " tokens"
              << (s.error.empty() ? "" : ": " + s.error) << "\n";
  } else if (arguments.empty()) {
    ProgressLine line("upgrading, tokens");
    if (chat.session.upgrade_status().state != UpgradeState::running) chat.session.upgrade();
    const UpgradeStatus s = chat.session.finish_upgrade(line.progress());
    if (s.state == UpgradeState::done) print_upgraded("upgrade", s);
  } else {
    refuse("chat", "/upgrade [start|status|cancel]");
  }
}

void sync(ChatState& chat, const std::string& arguments) {
  std::string file = arguments;
  SyncOptions options;
  const auto [head, last] = split_last(arguments);
  if (last == "exact" || last == "steer" || last == "shift") {
    file = head;
    options.policy = last;
  }
  if (file.empty()) refuse("chat", "/sync FILE.json [exact|steer|shift]");
  const std::vector<Message> messages = read_messages(file);
  options.reply = false;  // the next thing said is a user's: an opened reply would stay empty
  options.adapter = adapter_of(chat, options.policy);
  ProgressLine line("reading, tokens");
  options.progress = line.progress();
  const SyncReport r = chat.session.sync(messages, options);
  std::cout << r.policy << " (" << name(r.exactness) << "): " << r.tokens << " tokens, " << r.reused
            << " reused, " << r.erased << " erased, " << r.read << " read, " << milliseconds(r.ms) << " ms\n";
}

void messages(ChatState& chat, const std::string&) {
  std::map<std::string, int> count;
  for (const MessageSpan& message : chat.session.messages()) {
    std::cout << message.role << ":" << ++count[message.role] << "  tokens " << message.tokens.begin << ".."
              << message.tokens.end << "  \"" << one_line(message.text, 60) << "\"\n";
  }
}

void evict(ChatState& chat, const std::string& arguments) {
  const auto [policy, keep] = split_last(arguments);
  if (policy.empty() || keep.empty()) refuse("chat", "/evict POLICY KEEP, e.g. /evict snapkv 25%");
  const Budget budget = Budget::parse(keep);
  ProgressLine line("evicting, layers");
  EvictOptions options;
  options.undo = true;
  options.progress = line.progress();
  const EvictReport r = chat.session.evict(policy, budget, options);
  std::cout << r.policy << ": kept " << percent(r.keep) << ", " << mebibytes(r.bytes_before) << " -> "
            << mebibytes(r.bytes_after) << " MiB (" << mebibytes(r.pinned_bytes) << " MiB held for /undo), "
            << milliseconds(r.score_ms + r.compact_ms) << " ms\n";
}

void fork(ChatState& chat, const std::string&) {
  const Stopwatch watch;
  Session child = chat.session.fork();
  const double ms = watch.ms();
  chat.aside.push_back(std::move(chat.session));
  chat.session = std::move(child);
  std::cout << "on fork " << chat.aside.size() << " now (" << milliseconds(ms) << " ms); /undo goes back\n";
}

void undo(ChatState& chat, const std::string&) {
  if (chat.session.stats().undo_steps == 0 && !chat.aside.empty()) {
    chat.session = std::move(chat.aside.back());
    chat.aside.pop_back();
    std::cout << "back to where /fork was, " << chat.session.stats().tokens << " tokens\n";
    return;
  }
  const UndoReport r = chat.session.undo();
  std::cout << "undid " << r.what << ": " << r.tokens_restored << " tokens restored, " << r.tokens_dropped
            << " said since dropped\n";
}

std::string named(ChatState& chat, const std::string& arguments) {
  if (!arguments.empty()) chat.file = arguments;
  if (chat.file.empty()) refuse("chat", "name a file");
  return chat.file;
}

void save(ChatState& chat, const std::string& arguments) {
  const std::string path = named(chat, arguments);
  chat.session.save(path);
  std::cout << "saved to " << path << "\n";
}

void load(ChatState& chat, const std::string& arguments) {
  Session loaded =
      Session::load(chat.session.model(), arguments.empty() ? named(chat, "") : arguments, chat.options);
  set_cap(loaded, chat.cap);
  chat.session = std::move(loaded);
  named(chat, arguments);
  std::cout << "loaded " << chat.session.stats().tokens << " tokens from " << chat.file << "\n";
}

void stats(ChatState& chat, const std::string&) {
  const SessionStats s = chat.session.stats();
  Table table({"what", ">value"});
  table.add({"tokens", grouped(s.tokens) + " of " + grouped(s.context_length)});
  table.add({"cache entries", grouped(s.entries) + " of " + grouped(s.full_entries)});
  if (s.held_from > 0) table.add({"sliding-window layers from position", grouped(s.held_from)});
  table.add({"cache MiB", mebibytes(s.bytes)});
  table.add({"shared with forks and history, MiB", mebibytes(s.shared_bytes)});
  table.add({"held by history besides, MiB", mebibytes(s.pinned_bytes)});
  table.add({"undo steps", std::to_string(s.undo_steps)});
  table.add({"forks", std::to_string(chat.aside.size())});
  if (s.evicted) table.add({"evicted by", s.policy});
  table.add({"all caches, MiB", mebibytes(s.pool.bytes_in_use)});
  table.add({"resident, MiB", mebibytes(s.pool.resident_bytes)});
  table.print(std::cout);
}

void find(ChatState& chat, const std::string& arguments) {
  if (arguments.empty()) refuse("chat", "/find TEXT");
  const std::vector<Found> all = chat.session.find(arguments);
  for (const Found& found : all) {
    std::cout << "tokens " << found.tokens.begin << ".." << found.tokens.end << " \"" << one_line(found.text)
              << "\"" << (found.widened ? " (widened to whole tokens)\n" : "\n");
  }
  if (all.empty()) std::cout << "not found\n";
}

void help(ChatState&, const std::string&);

constexpr SlashCommand slash_commands[] = {
    {"erase", "TEXT [METHOD]",
     "erase the last place of TEXT from what was said, or a message, as user:2 (default: recompute)", erase},
    {"verify", "[TEXT]", "measure what erased texts left behind", verify},
    {"upgrade", "[start|status|cancel]", "make the cache exact again; start: in the background", upgrade},
    {"sync", "FILE.json [POLICY]", "make the conversation that of FILE: exact (default), steer or shift",
     sync},
    {"messages", "", "what was said, by role and number", messages},
    {"evict", "POLICY KEEP", "cut the cache to KEEP (25%, 512, 8MiB); its pages stay for /undo", evict},
    {"fork", "", "keep this state aside and go on with a copy of it", fork},
    {"undo", "",
     "take back the last /erase or /evict and what was said since; else go back to the last /fork", undo},
    {"save", "[FILE]", "save the conversation", save},
    {"load", "[FILE]", "load one in place of this", load},
    {"stats", "", "tokens and memory", stats},
    {"find", "TEXT", "where TEXT stands", find},
    {"help", "", "this list", help},
    {"quit", "", "leave; so does Ctrl-D. Ctrl-C stops an answer", nullptr},
};

void help(ChatState&, const std::string&) {
  for (const SlashCommand& command : slash_commands) {
    std::string usage = "/";
    usage.append(command.name).append(" ").append(command.arguments);
    usage.resize(std::max<size_t>(usage.size() + 1, 22), ' ');
    std::cout << usage << command.help << "\n";
  }
}

}  // namespace

bool run_slash_command(ChatState& chat, std::string_view line) {
  line.remove_prefix(1);
  const std::string_view word = line.substr(0, line.find_first_of(" \t"));
  for (const SlashCommand& command : slash_commands) {
    if (command.name != word) continue;
    if (!command.run) return false;
    command.run(chat, trim(line.substr(word.size())));
    return true;
  }
  refuse("chat", "no command /" + std::string(word) + "; /help lists them");
}

}  // namespace kvedit::cli
