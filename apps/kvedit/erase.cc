// kvedit erase: spans of a context are erased with one or more methods, each on its own fork.
#include <algorithm>
#include <charconv>
#include <iostream>
#include <optional>
#include <sstream>

#include "commands.h"
#include "edit.h"
#include "eraser.h"
#include "report.h"
#include "said.h"
#include "table.h"

namespace kvedit::cli {
namespace {

const char* const erase_footer =
    "Examples:\n"
    "  kvedit erase -f notes.txt --span 'The code is 9023.' -q 'What is the code?'\n"
    "  kvedit erase -f notes.txt --span 'The code is 9023.' -q 'What is the code?' --method all --json\n"
    "  kvedit erase -f notes.txt --span 'The code is 9023.' --method steer --method mend:tail=32 --verify\n"
    "  kvedit erase -f notes.txt --session notes.kv --tokens 120..140 --method shift --save edited.kv\n"
    "  kvedit erase -f a.txt -f b.txt --document b.txt -q 'What do we know?'\n"
    "  kvedit erase --session edited.kv --verify --upgrade --save exact.kv\n"
    "  kvedit erase -f notes.txt --span 9023 --nth 2 --policy snapkv --keep 25% -q 'What is the code?'";

struct EraseCommand {
  EditOptions edit;
  std::vector<std::string> texts;
  std::vector<int> nth;
  bool all = false;
  bool loose = false;
  std::vector<std::string> from, to;  // texts between which is erased
  std::vector<std::string> documents;
  std::vector<std::string> ranges;
  std::vector<std::string> messages;
  std::vector<std::string> methods = {"recompute"};
  std::string adapter;
  bool evict_first = false;
  bool forget = false;
  bool verify = false;
  bool upgrade = false;
};

struct Edit {
  EraseReport report;
  std::optional<UpgradeStatus> upgraded;
  std::string told;  // below the table: what is still said, verified, upgraded
  Json json;         // the same, and the rest of the reports
  std::vector<Answer> answers;
};

Span parse_range(const std::string& text) {
  Span span;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, span.begin);
  if (first.ec == std::errc() && end - first.ptr > 2 && first.ptr[0] == '.' && first.ptr[1] == '.') {
    const auto second = std::from_chars(first.ptr + 2, end, span.end);
    if (second.ec == std::errc() && second.ptr == end) return span;
  }
  throw Error(ErrorCode::invalid_argument, "erase",
              "'" + text + "' is no token range; write A..B, the tokens from A up to but not B");
}

bool names_spans(const EraseCommand& command) {
  return !command.texts.empty() || !command.ranges.empty() || !command.messages.empty() ||
         !command.from.empty() || !command.documents.empty();
}

bool from_session(const EraseCommand& command) {
  return !command.edit.session.empty() && file_exists(command.edit.session);
}

void check(const EraseCommand& command) {
  require_context(command.edit);
  if (!names_spans(command) && !(from_session(command) && (command.verify || command.upgrade))) {
    refuse("erase",
           "nothing to erase: give --span TEXT, --from TEXT --to TEXT, --document FILE, --tokens A..B or "
           "--message "
           "ROLE:N; with a --session, --verify or --upgrade alone");
  }
  if (command.from.size() != command.to.size()) refuse("erase", "--from and --to go together");
  if (command.all && !command.nth.empty()) refuse("erase", "--all takes every place, --nth one of them");
  if (command.all && command.texts.empty()) refuse("erase", "--all is of --span TEXT");
  if (command.nth.size() > 1 && command.nth.size() != command.texts.size()) {
    refuse("erase", "give one --nth, or one for each --span");
  }
  if (command.edit.policies.size() > 1 ||
      (!command.edit.policies.empty() && command.edit.policies[0] == "all")) {
    refuse("erase", "one --policy goes with an erase; `kvedit evict` compares several");
  }
  if (command.edit.policies.empty() != command.edit.keep.empty())
    refuse("erase", "--policy and --keep go together");
  if (command.evict_first && command.edit.policies.empty())
    refuse("erase", "--evict-first needs --policy and --keep");
  if (!command.edit.keep.empty()) Budget::parse(command.edit.keep);
  if (command.forget && !command.edit.session.empty() && command.edit.save != command.edit.session) {
    refuse("erase", "--forget: " + command.edit.session + " keeps the whole text; add --save " +
                        command.edit.session + " to write over it, or leave --session out");
  }
  for (const std::string& range : command.ranges) parse_range(range);
  chosen_policies(command.edit.policies);
}

/// The one place, or the nth; errors say which flag goes on from there.
Found find_one(const Session& session, const std::string& text, int nth, FindOptions how) {
  try {
    return session.find_one(text, nth, how);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::ambiguous) throw extended(error, " with --nth, or --all for every place");
    if (error.code() != ErrorCode::not_found || how.loose || session.find(text, {.loose = true}).empty())
      throw;
    throw extended(error, "; --loose takes that one");
  }
}

/// From the first text up to the end of the next place of the second.
Found between(const Session& session, const std::string& from, const std::string& to, FindOptions how) {
  const Found first = session.find_one(from, 0, how);
  for (const Found& last : session.find(to, how)) {
    if (last.tokens.begin >= first.tokens.end - 1)
      return {{first.tokens.begin, std::max(first.tokens.end, last.tokens.end)}, false, ""};
  }
  throw Error(ErrorCode::not_found, "erase", "the text '" + to + "' does not stand behind '" + from + "'");
}

/// One place of each text, or all, and the others it stands at.
void locate(const EraseCommand& command, const Session& session, std::vector<Found>& spans,
            std::vector<Found>& others) {
  const FindOptions how{.loose = command.loose};
  for (size_t i = 0; i < command.texts.size(); ++i) {
    const std::vector<Found> all = session.find(command.texts[i], how);
    if (command.all && !all.empty()) {
      for (Found& place : apart(all)) spans.push_back(std::move(place));
      continue;
    }
    int nth = 0;
    if (command.nth.size() == 1 && all.size() > 1) nth = command.nth[0];
    if (command.nth.size() > 1) nth = command.nth[i];
    spans.push_back(find_one(session, command.texts[i], nth, how));
    for (const Found& found : all) {
      if (!(found.tokens == spans.back().tokens)) others.push_back(found);
    }
  }
  for (size_t i = 0; i < command.from.size(); i++)
    spans.push_back(between(session, command.from[i], command.to[i], how));
  for (const std::string& file : command.documents) {
    try {
      spans.push_back(session.find_one(trim(document(file)), 0, how));
    } catch (const Error& error) {  // not the whole of it again
      if (error.code() != ErrorCode::not_found && error.code() != ErrorCode::ambiguous) throw;
      throw Error(error.code(), "erase",
                  "the text of " + file +
                      (error.code() == ErrorCode::ambiguous ? " stands in the context more than once"
                                                            : " is not in the context as the file has it"));
    }
  }
  for (const std::string& range : command.ranges) spans.push_back({parse_range(range), false, ""});
  for (const std::string& message : command.messages) {
    spans.push_back({find_message(session, message).tokens, false, ""});
  }
}

Json found_json(const Found& found) {
  return {{"begin", found.tokens.begin},
          {"end", found.tokens.end},
          {"text", found.text},
          {"widened", found.widened}};
}

/// The report's spans are merged and sorted: one is widened if a located one inside it is.
Json spans_json(const EraseReport& report, const std::vector<Found>& located) {
  Json list = Json::array();
  for (size_t i = 0; i < report.spans.size(); ++i) {
    Found found{report.spans[i], false, report.text[i]};
    for (const Found& f : located) {
      found.widened |= f.widened && f.tokens.begin >= found.tokens.begin && f.tokens.end <= found.tokens.end;
    }
    list.push_back(found_json(found));
  }
  return list;
}

/// Writes the reports of an edited session, which has the texts that they point to.
void tell(Edit& edit, const Session& session, const std::vector<Found>& spans,
          const std::vector<Found>& others) {
  const EraseReport& r = edit.report;
  edit.json = {{"method", r.method}, {"exactness", to_string(r.exactness)}, {"spans", spans_json(r, spans)}};
  edit.json["other_occurrences"] = Json::array();
  for (const Found& found : others) edit.json["other_occurrences"].push_back(found_json(found));
  edit.json.update(erase_json(session, r));
  if (edit.upgraded) edit.json["upgrade"] = upgrade_json(session, *edit.upgraded);
  std::ostringstream out;
  const std::vector<MessageSpan> messages = session.messages();
  for (const Found& found : r.repeated) {
    out << r.method << ": still said at " << place_name(messages, found.tokens) << ": \""
        << one_line(found.text, 60) << "\"\n";
  }
  if (r.verified) print_verified(out, r.method, *r.verified);
  if (edit.upgraded) print_upgraded(out, r.method, *edit.upgraded);
  print_mentions(out, session, r.mentions, Offer::flags);
  edit.told = out.str();
}

void print(const Prepared& prepared, int context_tokens, const std::vector<Edit>& edits,
           const std::vector<Eviction>& evictions, const std::vector<Found>& others) {
  print_prepared(prepared, context_tokens);
  for (const Json& span : edits.front().json["spans"]) {
    std::cout << "span     tokens " << span["begin"] << ".." << span["end"] << ": \""
              << one_line(span["text"].get<std::string>(), 80) << "\"\n";
  }
  for (const Found& other : others) {
    std::cout << "also at  tokens " << other.tokens.begin << ".." << other.tokens.end
              << ", left as it is (--all takes every place)\n";
  }
  std::cout << "\n";
  Table table({"method", "exactness", ">recomputed", ">ms", ">MiB before", ">after", "note"});
  for (const Edit& edit : edits) {
    const EraseReport& r = edit.report;
    table.add({r.method, std::string(to_string(r.exactness)), grouped(r.tokens_recomputed),
               milliseconds(r.ms), mebibytes(r.bytes_before), mebibytes(r.bytes_after), r.note});
  }
  table.print(std::cout);
  std::string told;
  for (const Edit& edit : edits) {
    if (edit.told != told) std::cout << edit.told;  // methods mostly leave the same places
    told = edit.told;
  }
  print_evictions(evictions);
  std::vector<std::pair<std::string, std::vector<Answer>>> answers = {{"before", prepared.before}};
  for (const Edit& edit : edits) answers.emplace_back(edit.report.method, edit.answers);
  for (const Eviction& e : evictions) answers.emplace_back(e.method + " + " + e.policy, e.answers);
  print_answers(answers);
}

UpgradeStatus upgraded(Session& session) {
  ProgressLine line("upgrading, tokens");
  session.upgrade();
  UpgradeStatus status = session.finish_upgrade(line.progress());
  if (status.state != UpgradeState::done) throw Error(ErrorCode::cancelled, "cli", "interrupted");
  return status;
}

/// Runs --verify, --upgrade and questions on a session that was edited before.
void look_after(const EraseCommand& command, Prepared& prepared) {
  Session& session = prepared.session;
  Json json = prepared_json(prepared, session.stats().tokens);
  std::ostringstream out;
  if (command.verify) {
    ProgressLine line("verifying, tokens");
    const VerifyReport report = session.verify({.progress = line.progress()});
    print_verified(out, "verify", report);
    print_mentions(out, session, report.mentions, Offer::flags);
    json["verify"] = verify_json(session, report);
  }
  if (command.upgrade) {
    const UpgradeStatus status = upgraded(session);
    print_upgraded(out, "upgrade", status);
    print_mentions(out, session, status.mentions, Offer::flags);
    json["upgrade"] = upgrade_json(session, status);
  }
  if (!command.edit.save.empty()) session.save(command.edit.save);
  std::vector<std::pair<std::string, std::vector<Answer>>> answers = {{"before", prepared.before}};
  if (command.upgrade) {
    answers.emplace_back("upgraded", ask_all(session, prepared.prompt, command.edit));
    json["answers"] = answers_json(answers.back().second);
  }
  if (command.edit.common.json) return print_json(json);
  print_prepared(prepared, session.stats().tokens);
  std::cout << out.str();
  print_answers(answers);
}

Edit edited(const EraseCommand& command, Session& session, const std::string& method,
            const std::shared_ptr<const Adapter>& adapter, const std::vector<Found>& spans) {
  std::vector<Span> tokens;
  for (const Found& found : spans) tokens.push_back(found.tokens);
  Edit edit;
  {
    ProgressLine line("erasing, tokens");
    EraseOptions options;
    options.method = method;
    options.adapter = adapter;
    options.forget = command.forget;
    options.verify = command.verify;
    options.progress = line.progress();
    edit.report = session.erase(tokens, options);
  }
  if (command.upgrade) edit.upgraded = upgraded(session);
  return edit;
}

void run(const EraseCommand& command) {
  check(command);
  const size_t named = chosen_methods(command.methods, true).size();  // before anything is read
  if (!command.edit.save.empty() && named != 1) {
    throw Error(ErrorCode::invalid_argument, "erase", "--save takes one --method");
  }
  Prepared prepared = prepare(command.edit);
  const int context_tokens = prepared.session.stats().tokens;
  prepared.before = ask_all(prepared.session, prepared.prompt, command.edit);
  if (!names_spans(command)) return look_after(command, prepared);
  const std::shared_ptr<const Adapter> adapter = eraser(*prepared.model, command.adapter, command.methods);
  const std::vector<std::string> methods = chosen_methods(command.methods, adapter != nullptr);
  std::vector<Found> spans, others;
  locate(command, prepared.session, spans, others);

  std::vector<Edit> edits;
  std::vector<Eviction> evictions;
  for (const std::string& method : methods) {
    // The only edit is made on the session itself: no fork holds what it frees.
    Session session = methods.size() == 1 ? std::move(prepared.session) : prepared.session.fork();
    auto evict = [&] {
      evictions.push_back(apply_policy(session, prepared, command.edit, command.edit.policies.front()));
      evictions.back().method = method;
    };
    if (command.evict_first) evict();
    Edit edit = edited(command, session, method, adapter, spans);
    tell(edit, session, spans, others);
    edit.answers = ask_all(session, prepared.prompt, command.edit);
    edit.json["answers"] = answers_json(edit.answers);
    edits.push_back(std::move(edit));
    if (!command.evict_first && !command.edit.policies.empty()) evict();
    if (!command.edit.save.empty()) session.save(command.edit.save);
  }

  if (!command.edit.common.json) return print(prepared, context_tokens, edits, evictions, others);
  Json json = prepared_json(prepared, context_tokens);
  json["edits"] = Json::array();
  for (const Edit& edit : edits) json["edits"].push_back(edit.json);
  json["evictions"] = Json::array();
  for (const Eviction& e : evictions) json["evictions"].push_back(eviction_json(e));
  print_json(json);
}

}  // namespace

void add_erase(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("erase", "Erase spans of a context and ask before and after");
  auto command = std::make_shared<EraseCommand>();
  sub->add_option("--span", command->texts, "Erase this text; repeatable")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  sub->add_flag("--all", command->all, "Every place of each --span");
  sub->add_flag(
      "--loose", command->loose,
      "Find texts also where case, white space, quotation marks or dashes, or Unicode's forms differ");
  sub->add_option("--from", command->from, "Erase from this text on, up to the end of --to; repeatable")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  sub->add_option("--to", command->to, "Where what begins at --from ends")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  sub->add_option("--document", command->documents,
                  "Erase the text of this file, one of the context's; repeatable")
      ->type_name("FILE")
      ->allow_extra_args(false);
  sub->add_option("--nth", command->nth,
                  "Which occurrence, from 1, of a text that stands there more than once")
      ->check(CLI::Range(1, 1 << 30))
      ->type_name("N")
      ->allow_extra_args(false);
  sub->add_option("--tokens", command->ranges, "Erase the tokens A up to but not B; repeatable")
      ->type_name("A..B")
      ->allow_extra_args(false);
  sub->add_option("--method", command->methods,
                  "See `kvedit methods`; with parameters as mend:window=32; repeatable, or all")
      ->capture_default_str()
      ->type_name("NAME")
      ->allow_extra_args(false);
  sub->add_option(
         "--message", command->messages,
         "Erase the N-th message of a role, from 1, or from the end: user:2, assistant:-1; repeatable")
      ->type_name("ROLE:N")
      ->allow_extra_args(false);
  sub->add_option("--adapter", command->adapter,
                  "The eraser for steer: a LoRA GGUF or a PEFT folder (default: the one "
                  "that ships for the model)")
      ->type_name("PATH");
  sub->add_flag("--verify", command->verify, "Measure what is left of the erased text (costs a recompute)");
  sub->add_flag("--upgrade", command->upgrade, "Afterwards make the cache exact, and ask then");
  sub->add_flag("--forget", command->forget, "Keep the erased text nowhere, saved sessions included");
  sub->add_flag("--evict-first", command->evict_first, "Apply --policy before erasing, not after");
  add_edit_options(*sub, command->edit);
  sub->footer(erase_footer);
  sub->callback([command] { run(*command); });
}

}  // namespace kvedit::cli
