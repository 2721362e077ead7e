// kvedit erase: spans of a context are erased with one or more methods, each on its own fork.
#include <algorithm>
#include <charconv>
#include <iostream>
#include <optional>

#include "commands.h"
#include "edit.h"
#include "eraser.h"
#include "table.h"

namespace kvedit::cli {
namespace {

const char* const erase_footer =
    "Examples:\n"
    "  kvedit erase -f notes.txt --span 'The code is 9023.' -q 'What is the code?'\n"
    "  kvedit erase -f notes.txt --span 'The code is 9023.' -q 'What is the code?' --method all --json\n"
    "  kvedit erase -f notes.txt --span 'The code is 9023.' --method steer --adapter eraser.gguf --verify\n"
    "  kvedit erase -f notes.txt --session notes.kv --tokens 120..140 --method shift --save edited.kv\n"
    "  kvedit erase -f notes.txt --span 9023 --nth 2 --policy snapkv --keep 25% -q 'What is the code?'";

struct EraseCommand {
  EditOptions edit;
  std::vector<std::string> texts;
  std::vector<int> nth;
  std::vector<std::string> ranges;
  std::vector<std::string> messages;
  std::vector<std::string> methods = {"recompute"};
  std::string adapter;
  std::optional<int> repair_window;
  bool evict_first = false;
  bool forget = false;
  bool verify = false;
  bool upgrade = false;
};

struct Edit {
  EraseReport report;
  std::optional<UpgradeStatus> upgraded;
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

void check(const EraseCommand& command) {
  require_context(command.edit);
  if (command.texts.empty() && command.ranges.empty() && command.messages.empty())
    refuse("erase", "nothing to erase: give --span TEXT, --tokens A..B or --message ROLE:N");
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

/// One place of each text, and the others it stands at.
void locate(const EraseCommand& command, const Session& session, std::vector<Found>& spans,
            std::vector<Found>& others) {
  for (size_t i = 0; i < command.texts.size(); ++i) {
    const std::vector<Found> all = session.find(command.texts[i]);
    int nth = 0;
    if (command.nth.size() == 1 && all.size() > 1) nth = command.nth[0];
    if (command.nth.size() > 1) nth = command.nth[i];
    spans.push_back(session.find_one(command.texts[i], nth));
    for (const Found& found : all) {
      if (!(found.tokens == spans.back().tokens)) others.push_back(found);
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

Json edit_json(const Edit& edit, const std::vector<Found>& spans, const std::vector<Found>& others) {
  const EraseReport& r = edit.report;
  Json json = {{"method", r.method}, {"exactness", name(r.exactness)}, {"spans", spans_json(r, spans)}};
  json["other_occurrences"] = Json::array();
  for (const Found& found : others) json["other_occurrences"].push_back(found_json(found));
  json.update(erase_json(r));
  if (edit.upgraded) json["upgrade"] = upgrade_json(*edit.upgraded);
  json["answers"] = answers_json(edit.answers);
  return json;
}

void print(const Prepared& prepared, int context_tokens, const std::vector<Edit>& edits,
           const std::vector<Eviction>& evictions, const std::vector<Found>& spans,
           const std::vector<Found>& others) {
  print_prepared(prepared, context_tokens);
  for (const Json& span : spans_json(edits.front().report, spans)) {
    std::cout << "span     tokens " << span["begin"] << ".." << span["end"] << ": \""
              << one_line(span["text"].get<std::string>(), 80) << "\""
              << (span["widened"].get<bool>() ? " (widened to whole tokens)\n" : "\n");
  }
  for (const Found& other : others) {
    std::cout << "also at  tokens " << other.tokens.begin << ".." << other.tokens.end << ", left as it is\n";
  }
  std::cout << "\n";
  Table table({"method", "exactness", ">recomputed", ">ms", ">MiB before", ">after", "note"});
  for (const Edit& edit : edits) {
    const EraseReport& r = edit.report;
    table.add({r.method, std::string(name(r.exactness)), grouped(r.tokens_recomputed), milliseconds(r.ms),
               mebibytes(r.bytes_before), mebibytes(r.bytes_after), r.note});
  }
  table.print(std::cout);
  for (const Edit& edit : edits) {
    for (const Found& found : edit.report.repeated) {
      std::cout << edit.report.method << ": still said at tokens " << found.tokens.begin << ".."
                << found.tokens.end << ": \"" << one_line(found.text, 60) << "\"\n";
    }
    if (edit.report.verified) print_verified(edit.report.method, *edit.report.verified);
    if (edit.upgraded) print_upgraded(edit.report.method, *edit.upgraded);
  }
  print_evictions(evictions);
  std::vector<std::pair<std::string, std::vector<Answer>>> answers = {{"before", prepared.before}};
  for (const Edit& edit : edits) answers.emplace_back(edit.report.method, edit.answers);
  for (const Eviction& e : evictions) answers.emplace_back(e.method + " + " + e.policy, e.answers);
  print_answers(answers);
}

void run(const EraseCommand& command) {
  check(command);
  const size_t named = chosen_methods(command.methods, true).size();  // before anything is read
  if (!command.edit.save.empty() && named != 1) {
    throw Error(ErrorCode::invalid_argument, "erase", "--save takes one --method");
  }
  Prepared prepared = prepare(command.edit);
  const std::shared_ptr<const Adapter> adapter = eraser(*prepared.model, command.adapter, command.methods);
  const std::vector<std::string> methods = chosen_methods(command.methods, adapter != nullptr);
  const int context_tokens = prepared.session.stats().tokens;
  std::vector<Found> spans, others;
  locate(command, prepared.session, spans, others);
  std::vector<Span> tokens;
  for (const Found& found : spans) tokens.push_back(found.tokens);
  prepared.before = ask_all(prepared.session, prepared.prompt, command.edit);

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
    Edit edit;
    {
      ProgressLine line("erasing, tokens");
      EraseOptions options;
      options.method = method;
      options.repair_window = command.repair_window;
      options.adapter = adapter;
      options.forget = command.forget;
      options.verify = command.verify;
      options.progress = line.progress();
      edit.report = session.erase(tokens, options);
    }
    if (command.upgrade) {
      ProgressLine line("upgrading, tokens");
      session.upgrade();
      edit.upgraded = session.finish_upgrade(line.progress());
      if (edit.upgraded->state != UpgradeState::done) throw Error(ErrorCode::cancelled, "cli", "interrupted");
    }
    edit.answers = ask_all(session, prepared.prompt, command.edit);
    edits.push_back(std::move(edit));
    if (!command.evict_first && !command.edit.policies.empty()) evict();
    if (!command.edit.save.empty()) session.save(command.edit.save);
  }

  if (!command.edit.common.json) return print(prepared, context_tokens, edits, evictions, spans, others);
  Json json = prepared_json(prepared, context_tokens);
  json["edits"] = Json::array();
  for (const Edit& edit : edits) json["edits"].push_back(edit_json(edit, spans, others));
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
  sub->add_option("--nth", command->nth,
                  "Which occurrence, from 1, of a text that stands there more than once")
      ->check(CLI::Range(1, 1 << 30))
      ->type_name("N")
      ->allow_extra_args(false);
  sub->add_option("--tokens", command->ranges, "Erase the tokens A up to but not B; repeatable")
      ->type_name("A..B")
      ->allow_extra_args(false);
  sub->add_option("--method", command->methods, "See `kvedit methods`; a comma list, repeatable, or all")
      ->delimiter(',')
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
  sub->add_option("--repair-window", command->repair_window,
                  "Tokens after a span that repair (64) and mend (128) forward again")
      ->check(CLI::Range(1, 1 << 30))
      ->type_name("N");
  sub->add_flag("--evict-first", command->evict_first, "Apply --policy before erasing, not after");
  add_edit_options(*sub, command->edit);
  sub->footer(erase_footer);
  sub->callback([command] { run(*command); });
}

}  // namespace kvedit::cli
