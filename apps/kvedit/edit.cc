#include "edit.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <iostream>

#include "report.h"
#include "table.h"
#include "tools/text.h"

namespace kvedit::cli {
namespace {

constexpr size_t kBesideAnswers = 30;  // columns

template <typename Info>
std::vector<std::string> chosen(const std::vector<std::string>& given, const std::vector<Info>& table,
                                const std::string& where, const std::string& kind, auto&& usable) {
  std::vector<std::string> names, result;
  for (const Info& info : table) names.push_back(info.name);
  for (const std::string& name : given) {
    // Parts and parameters, "snapkv+adaptive", "snapkv:window=32", are checked where they are made.
    const std::string base = base_name(name);
    if (name == "all") {
      for (const Info& info : table) {
        if (usable(info)) result.push_back(info.name);
      }
    } else if (base.find('+') != std::string::npos ||
               std::find(names.begin(), names.end(), base) != names.end()) {
      result.push_back(name);
    } else {
      fail(ErrorCode::not_found, where, "no ", kind, " '", name, "'; there are ", join(names));
    }
  }
  return result;
}

}  // namespace

void add_edit_options(CLI::App& command, EditOptions& options) {
  command
      .add_option("-f,--file", options.documents,
                  "The context, a text file; - is standard input; repeatable: one after the other")
      ->type_name("FILE")
      ->allow_extra_args(false);
  command.add_option("-q,--question", options.questions, "Ask this before and after; repeatable")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  command
      .add_option("--session", options.session,
                  "Start from this prefilled session; if it does not exist, keep the prefilled context there")
      ->type_name("FILE");
  command.add_option("--save", options.save, "Save the edited session (of one method or policy)")
      ->type_name("FILE");
  command.add_flag("--raw", options.raw, "Plain text and \"Question: ... Answer:\", no chat format");
  command.add_option("-n,--max-tokens", options.max_tokens, "Tokens of an answer at most")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->type_name("N");
  command.add_option("--policy", options.policies, "See `kvedit policies`; repeatable, or all")
      ->type_name("NAME")
      ->allow_extra_args(false);
  command.add_option("--keep", options.keep, "Keep 10%, 512 (tokens a lane) or 64MiB")->type_name("BUDGET");
  command.add_option("--seed", options.seed, "Of policies that draw lots")
      ->capture_default_str()
      ->type_name("N");
  add_cap(command, options.cap);
  add_swa(command, options.swa);
  add_common(command, options.common);
}

void require_context(const EditOptions& options) {
  require_writable(options.save);
  require_writable(options.session);
  if (!options.documents.empty() || (!options.session.empty() && file_exists(options.session))) return;
  const std::string why = options.session.empty() ? "" : " (" + options.session + " does not exist yet)";
  throw Error(ErrorCode::invalid_argument, "cli", "no context: name a file with -f" + why);
}

std::string document(const std::string& file) {
  std::string text = read_file(file);
  if (trim(text).empty())
    throw Error(ErrorCode::invalid_argument, "cli", "the context file " + file + " is empty");
  return text;
}

Prepared prepare(const EditOptions& options) {
  require_context(options);
  const bool from_file = !options.session.empty() && file_exists(options.session);
  std::vector<std::string> documents;
  for (const std::string& file : options.documents) documents.push_back(document(file));
  std::shared_ptr<Model> model = load_model(options.common);
  Prompt prompt(*model, options.raw);
  SessionOptions session_options;
  session_options.swa = options.swa;
  session_options.undo_depth = 0;  // nobody undoes here, and history would pin what an edit frees
  const Stopwatch watch;
  Session session =
      from_file ? Session::load(model, options.session, session_options) : Session(model, session_options);
  set_cap(session, options.cap);
  const std::string held = from_file ? session.text() : "";
  for (size_t i = 0; i < documents.size() && from_file; i++) {
    if (held.find(trim(documents[i])) == std::string::npos) {
      throw Error(ErrorCode::invalid_argument, "cli",
                  options.session + " holds another context than " + options.documents[i] +
                      "; leave one of them out");
    }
  }
  if (!from_file) {
    std::string context;
    for (const std::string& text : documents) context += (context.empty() ? "" : "\n\n") + text;
    ProgressLine line("reading the context, tokens");
    try {
      prompt.append_context(session, context, line.progress());
    } catch (const Error& error) {
      throw extended(error, " (context file " + options.documents.front() + ")");
    }
    if (!options.session.empty()) session.save(options.session);
  }
  const double ms = watch.ms();
  return {std::move(model), std::move(prompt), std::move(session), ms, from_file, {}};
}

std::vector<Answer> ask_all(const Session& session, const Prompt& prompt, const EditOptions& options) {
  std::vector<Answer> answers;
  for (const std::string& question : options.questions) {
    answers.push_back(ask(session, prompt, question, options.max_tokens));
  }
  return answers;
}

std::string base_name(const std::string& text) { return text.substr(0, text.find(':')); }

std::vector<Found> apart(std::vector<Found> places) {
  std::vector<Found> all;
  for (Found& place : places) {
    if (!all.empty() && place.tokens.begin < all.back().tokens.end) {
      all.back().tokens.end = std::max(all.back().tokens.end, place.tokens.end);
      all.back().text.clear();
    } else {
      all.push_back(std::move(place));
    }
  }
  return all;
}

std::vector<std::string> chosen_methods(const std::vector<std::string>& given, bool adapter) {
  return chosen(given, erase_methods(), "erase", "method",
                [&](const EraseMethodInfo& method) { return adapter || !method.needs_adapter; });
}

namespace {

const EraseMethodInfo* find_method(const std::vector<EraseMethodInfo>& table, const std::string& text) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [name = base_name(text)](const auto& m) { return m.name == name; });
  return found == table.end() ? nullptr : &*found;
}

}  // namespace

bool is_method(const std::string& text) { return find_method(erase_methods(), text) != nullptr; }

bool needs_adapter(const std::string& method) {
  const std::vector<EraseMethodInfo> table = erase_methods();
  const EraseMethodInfo* found = find_method(table, method);
  return found && found->needs_adapter;
}

std::vector<std::string> chosen_policies(const std::vector<std::string>& given) {
  return chosen(given, policies(), "evict", "policy",
                [](const PolicyInfo& policy) { return !policy.needs_file(); });
}

bool names_message(const std::string& text) {
  const size_t colon = text.rfind(':');
  return colon != std::string::npos && colon + 1 < text.size() &&
         text.find_first_not_of("-0123456789", colon + 1) == std::string::npos;
}

MessageSpan find_message(const Session& session, const std::string& text) {
  const size_t colon = text.rfind(':');
  int index = 0;
  const char* const end = text.data() + text.size();
  const auto number = std::from_chars(text.data() + (colon == std::string::npos ? 0 : colon + 1), end, index);
  if (number.ec != std::errc() || number.ptr != end) {
    fail(ErrorCode::invalid_argument, "erase", "'", text,
         "' is no message; write ROLE:N, as user:2, assistant:-1");
  }
  return session.message(colon == std::string::npos ? "" : text.substr(0, colon), index);
}

Eviction apply_policy(Session& session, const Prepared& prepared, const EditOptions& options,
                      const std::string& policy) {
  Eviction eviction{policy, options.keep, "", {}, 0, {}};
  {
    ProgressLine line("evicting, layers");
    EvictOptions evict;
    evict.seed = options.seed;
    evict.progress = line.progress();
    eviction.report = session.evict(policy, Budget::parse(options.keep), evict);
  }
  eviction.resident_bytes = prepared.model->pool().resident_bytes;
  eviction.answers = ask_all(session, prepared.prompt, options);
  return eviction;
}

Json answers_json(const std::vector<Answer>& answers) {
  Json list = Json::array();
  for (const Answer& a : answers)
    list.push_back({{"question", a.question}, {"answer", a.text}, {"ms", a.ms}});
  return list;
}

Json eviction_json(const Eviction& eviction) {
  Json json = {{"policy", eviction.report.policy}, {"budget", eviction.keep}};
  json.update(evict_json(eviction.report));
  json["resident_bytes"] = eviction.resident_bytes;
  if (!eviction.method.empty()) json["method"] = eviction.method;
  json["answers"] = answers_json(eviction.answers);
  return json;
}

Json prepared_json(const Prepared& prepared, int context_tokens) {
  return {{"model", prepared.model->info().name},
          {"context_tokens", context_tokens},
          {"prefill_ms", prepared.from_file ? 0.0 : prepared.prefill_ms},
          {"load_ms", prepared.from_file ? prepared.prefill_ms : 0.0},
          {"answers_before", answers_json(prepared.before)}};
}

void print_prepared(const Prepared& prepared, int context_tokens) {
  const ModelInfo info = prepared.model->info();
  std::cout << "model    " << info.name << ", " << info.linear << " on " << info.attention << ", "
            << info.threads << (info.threads == 1 ? " thread\n" : " threads\n");
  std::cout << "context  " << grouped(context_tokens) << " tokens, "
            << (prepared.from_file ? "loaded from a session in " : "read in ")
            << milliseconds(prepared.prefill_ms) << " ms\n";
}

void print_evictions(const std::vector<Eviction>& evictions) {
  if (evictions.empty()) return;
  Table table({"policy", ">kept", ">entries a lane", ">score ms", ">compact ms", ">MiB before", ">after",
               ">resident"});
  for (const Eviction& e : evictions) {
    const EvictReport& r = e.report;
    table.add({(e.method.empty() ? "" : e.method + " + ") + e.policy, percent(r.keep),
               grouped(r.lane_min) + " / " + grouped(r.lane_median) + " / " + grouped(r.lane_max),
               milliseconds(r.score_ms), milliseconds(r.compact_ms), mebibytes(r.bytes_before),
               mebibytes(r.bytes_after), mebibytes(e.resident_bytes)});
  }
  std::cout << "\n";
  table.print(std::cout);
}

void print_answers(const std::vector<std::pair<std::string, std::vector<Answer>>>& labelled) {
  if (labelled.empty()) return;
  // Beside the other columns on a terminal, whole in a file or pipe.
  const size_t columns = terminal_columns();
  const size_t shown = columns == 0 ? std::string::npos : std::max<size_t>(columns, 80) - kBesideAnswers;
  for (size_t i = 0; i < labelled.front().second.size(); ++i) {
    std::cout << "\nquestion: " << labelled.front().second[i].question << "\n";
    Table table({"cache", ">ms", "answer"});
    for (const auto& [label, answers] : labelled) {
      table.add({label, milliseconds(answers[i].ms), one_line(answers[i].text, shown)});
    }
    table.print(std::cout);
  }
}

}  // namespace kvedit::cli
