// An example of which the context is in the cache: read once, and forked for each cell and question.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eval/cell.h"
#include "eval/task.h"
#include "kvedit/session.h"

namespace kvedit::eval {

/// The erasers of a grid by their path.
using Adapters = std::map<std::string, std::shared_ptr<const Adapter>>;

/// Returns the text of an answer's tokens as Session::generate makes it: up to the stop string. Where the
/// question `begins`, the first token is not searched for one.
std::string answer_text(const Model& model, const std::vector<Token>& tokens, const Question& question);

struct CellAnswers {
  std::vector<Answer> answers;  // [questions]
  double edit_ms = 0;           // time of evicting and erasing, shared passes included; mean over the caches
  double answer_ms = 0;         // time of reading what follows the edit and of answering, all questions
  size_t bytes = 0;             // size of the largest cache after the edit
  std::string policy;           // the policy with all its parameters
};

class LoadedExample {
 public:
  /// Throws what Session::append_tokens does.
  LoadedExample(const std::shared_ptr<Model>& model, Example example, uint64_t seed,
                const Progress& progress);

  const Example& example() const { return example_; }
  /// Throws what Session::evict, Session::erase and Session::generate do.
  CellAnswers ask(const Cell& cell, const Adapters& adapters, const Progress& progress);

 private:
  // A cache before the edit: the context up to `cut`, then `before`.
  struct Base {
    int cut;
    std::vector<Token> before;
    Session session;
    std::vector<size_t> questions;
    std::shared_ptr<EvictPasses> passes;
  };
  // The exact cache's answer to a question.
  struct Exact {
    std::string text;
    int chosen = -1;
    std::vector<Token> forced;
    std::vector<float> logs;  // [forced][vocabulary]
  };

  std::vector<Span> erased_before(int cut) const;
  const Session& without_erased(int cut, const Progress& progress);
  const Exact& exact(const Base& base, size_t question, bool erased, const Progress& progress);
  void edit(Session& session, const Base& base, const Cell& cell, const Adapters& adapters,
            const Progress& progress, CellAnswers& result) const;

  std::shared_ptr<Model> model_;
  Example example_;
  uint64_t seed_;
  std::vector<Base> bases_;
  std::map<int, Session> without_erased_;           // by cut
  std::map<std::pair<size_t, bool>, Exact> exact_;  // by question, and whether something is erased
};

}  // namespace kvedit::eval
