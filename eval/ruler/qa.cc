#include "eval/ruler/qa.h"

#include <algorithm>
#include <map>
#include <set>

#include "eval/fill.h"
#include "eval/fit.h"
#include "tools/text.h"

namespace kvedit::eval::ruler {
namespace {

using nlohmann::json;

constexpr size_t kMostMisses = 64;  // documents that do not fit before the choice is closed
constexpr int kMostTries = 4;       // to bring the estimated length below the limit

// Equal documents are one.
class Documents {
 public:
  size_t add(const std::string& text) {
    const auto [at, is_new] = index_.try_emplace(text, all_.size());
    if (is_new) all_.push_back(text);
    return at->second;
  }
  std::vector<std::string> take() { return std::move(all_); }

 private:
  std::map<std::string, size_t> index_;
  std::vector<std::string> all_;
};

void read_article(const json& article, Documents& documents, QaSet& set) {
  std::vector<size_t> all;
  for (const json& paragraph : article.at("paragraphs"))
    all.push_back(documents.add(paragraph.at("context")));
  for (size_t p = 0; p < all.size(); p++) {
    for (const json& asked : article["paragraphs"][p].at("qas")) {
      if (asked.value("is_impossible", false)) continue;
      QaQuestion question{asked.at("question"), {}, {all[p]}, {}};
      for (const json& answer : asked.at("answers")) question.answers.push_back(answer.at("text"));
      if (question.answers.empty()) continue;
      std::copy_if(all.begin(), all.end(), std::back_inserter(question.more),
                   [&](size_t d) { return d != all[p]; });
      set.questions.push_back(std::move(question));
    }
  }
}

void read_hotpot(const json& record, Documents& documents, QaSet& set) {
  QaQuestion question{record.at("question"), {record.at("answer").get<std::string>()}, {}, {}};
  for (const json& document : record.at("context")) {
    std::string text = document.at(0).get<std::string>() + "\n";
    for (const json& sentence : document.at(1)) text += sentence.get<std::string>();
    question.documents.push_back(documents.add(text));
  }
  set.questions.push_back(std::move(question));
}

Prompt prompt_of(const QaSet& set, const QaQuestion& question, const std::vector<size_t>& documents) {
  std::string context;
  for (size_t i = 0; i < documents.size(); i++)
    context += cat(i > 0 ? "\n\n" : "", "Document ", i + 1, ":\n", set.documents[documents[i]]);
  const Wording& words = wording("qa");
  Prompt prompt = split_prompt(words.text, words.prefix, context);
  prompt.question = fill(prompt.question, {{"query", question.query}});
  prompt.references = question.answers;
  return prompt;
}

// Adds to a question's documents until about `room` tokens are taken.
class Filling {
 public:
  Filling(const QaSet& set, const QaQuestion& question, const Count& count, const Random& random)
      : set_(set), question_(question), count_(count), random_(random) {
    std::set<size_t> seen(question.documents.begin(), question.documents.end());
    for (const size_t i : random_.sample(question.more.size(), question.more.size()))
      if (seen.insert(question.more[i]).second) candidates_.push_back(question.more[i]);
    for (const size_t d : random_.sample(set.documents.size(), set.documents.size()))
      if (seen.insert(d).second) candidates_.push_back(d);
    bare_ = count_(prompt_of(set_, question_, {}));
  }

  std::vector<size_t> choose(size_t room) {
    std::vector<size_t> chosen, misses;
    for (const size_t document : candidates_) {
      if (misses.size() == kMostMisses) break;
      if (size_of(document) > room) {
        misses.push_back(document);
        continue;
      }
      room -= size_of(document);
      chosen.push_back(document);
    }
    // One makes way for another that leaves least room.
    size_t best = 0, at = 0, instead = 0;
    for (size_t i = 0; i < chosen.size(); i++) {
      for (const size_t document : misses) {
        const size_t now = size_of(chosen[i]), then = size_of(document);
        if (then <= now + best || then - now > room) continue;
        best = then - now;
        at = i;
        instead = document;
      }
    }
    if (best > 0) chosen[at] = instead;
    return chosen;
  }

 private:
  size_t size_of(size_t document) {
    const auto found = sizes_.find(document);
    if (found != sizes_.end()) return found->second;
    return sizes_[document] = count_(prompt_of(set_, question_, {document})) - bare_ + 1;  // the empty line
  }

  const QaSet& set_;
  const QaQuestion& question_;
  const Count& count_;
  Random random_;
  std::vector<size_t> candidates_;
  size_t bare_ = 0;
  std::map<size_t, size_t> sizes_;
};

}  // namespace

QaSet read_qa(const json& file, const std::function<void(const std::string& what)>& skip) {
  const bool squad = file.is_object() && file.contains("data") && file["data"].is_array();
  if (!squad && !file.is_array())
    fail(ErrorCode::invalid_argument, "eval", "neither SQuAD's format (\"data\") nor HotpotQA's (a list)");
  QaSet set{squad ? "qa_1" : "qa_2", {}, {}};
  Documents documents;
  for (const json& record : squad ? file["data"] : file) {
    const size_t before = set.questions.size();
    try {
      squad ? read_article(record, documents, set) : read_hotpot(record, documents, set);
    } catch (const json::exception& error) {
      set.questions.resize(before);
      skip(error.what());
    }
  }
  set.documents = documents.take();
  return set;
}

std::optional<Prompt> qa(const QaSet& set, size_t question, const Count& count, size_t tokens,
                         Random random) {
  const QaQuestion& asked = set.questions.at(question);
  const size_t own = count(prompt_of(set, asked, asked.documents));
  if (own > tokens) return std::nullopt;
  Filling filling(set, asked, count, random);
  size_t room = tokens - own;
  for (int i = 0; i < kMostTries; i++) {
    std::vector<size_t> all = asked.documents;
    for (const size_t document : filling.choose(room)) all.push_back(document);
    std::vector<size_t> order;
    for (const size_t d : Random(random).sample(all.size(), all.size())) order.push_back(all[d]);
    Prompt prompt = prompt_of(set, asked, order);
    const size_t made = count(prompt);
    if (made <= tokens) {
      if (static_cast<double>(made) < (1 - kTolerance) * static_cast<double>(tokens)) return std::nullopt;
      return prompt;
    }
    room -= std::min(room, made - tokens);
  }
  return std::nullopt;
}

}  // namespace kvedit::eval::ruler
