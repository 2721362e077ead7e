// What `erase` and `evict` share: a prefilled context, questions asked before and after, reports.
#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>
#include <vector>

#include "common.h"
#include "prompt.h"

namespace kvedit::cli {

struct EditOptions {
  CommonOptions common;
  std::vector<std::string> documents;  // files
  std::vector<std::string> questions;
  std::string session;  // file: start from it if it exists, else keep the prefilled session there
  std::string save;
  bool raw = false;
  int max_tokens = 48;
  std::vector<std::string> policies;
  std::string keep;
  uint64_t seed = 0;
  CapOptions cap;
  SlidingWindow swa = SlidingWindow::full;
};

void add_edit_options(CLI::App& command, EditOptions& options);
/// Throws Error(invalid_argument) when there is neither a context file nor a session to start from, and what
/// require_writable() does.
void require_context(const EditOptions& options);

/// The model and the context in its cache.
struct Prepared {
  std::shared_ptr<Model> model;
  Prompt prompt;
  Session session;
  double prefill_ms = 0;
  bool from_file = false;
  std::vector<Answer> before;  // answers of the full cache; the caller asks
};
Prepared prepare(const EditOptions& options);
std::vector<Answer> ask_all(const Session& session, const Prompt& prompt, const EditOptions& options);

/// Reads a context file. Throws Error(invalid_argument) for an empty one.
std::string document(const std::string& file);

/// Orders the places; those that share a token become one.
std::vector<Found> apart(std::vector<Found> places);
/// Spells out "all" among the names: without an adapter, the methods that need none. Throws Error(not_found)
/// for a name that is not in the table.
std::vector<std::string> chosen_methods(const std::vector<std::string>& given, bool adapter);
/// Cuts the parameters behind a method or policy off: "repair" of "repair:window=32".
std::string base_name(const std::string& text);
/// Tells whether a text names a method, with or without parameters.
bool is_method(const std::string& text);
/// Tells whether the method needs one; false for an unknown one.
bool needs_adapter(const std::string& method);
std::vector<std::string> chosen_policies(const std::vector<std::string>& given);

/// Finds a message of the session: "user:2", "assistant:-1". Throws Error(invalid_argument, not_found).
MessageSpan find_message(const Session& session, const std::string& text);
/// Tells whether a text has that form, "user:2".
bool names_message(const std::string& text);

struct Eviction {
  std::string policy;  // as asked for, like the budget
  std::string keep;
  std::string method;  // method of the erase it was combined with, or empty
  EvictReport report;
  size_t resident_bytes = 0;
  std::vector<Answer> answers;
};
Eviction apply_policy(Session& session, const Prepared& prepared, const EditOptions& options,
                      const std::string& policy);

Json answers_json(const std::vector<Answer>& answers);
Json eviction_json(const Eviction& eviction);
/// Returns {"model", "context_tokens", "prefill_ms", "answers_before"}.
Json prepared_json(const Prepared& prepared, int context_tokens);
void print_prepared(const Prepared& prepared, int context_tokens);
void print_evictions(const std::vector<Eviction>& evictions);
/// Prints a block for each question, with the answers of each label's cache.
void print_answers(const std::vector<std::pair<std::string, std::vector<Answer>>>& labelled);

}  // namespace kvedit::cli
