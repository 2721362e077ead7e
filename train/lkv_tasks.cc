#include "train/lkv_tasks.h"

#include <algorithm>
#include <array>

#include "eval/task.h"
#include "tools/text.h"

namespace kvedit::train {
namespace {

constexpr size_t kContinuation = 64;
constexpr size_t kFacts = 6;
constexpr size_t kBytesAToken = 8;

constexpr std::array<std::string_view, 12> kNumbered = {
    "locker number",  "access code",  "phone extension", "ticket number", "invoice number", "seat number",
    "account number", "shelf number", "flight number",   "room number",   "badge number",   "house number"};
constexpr std::array<std::string_view, 24> kNames = {
    "Martin", "Olga",   "Pierre", "Yusuf",  "Ingrid", "Rafael", "Mei",   "Thomas",
    "Fatima", "Nikhil", "Clara",  "Dmitri", "Helen",  "Jorge",  "Aisha", "Bruno",
    "Sofia",  "Kenji",  "Laura",  "Marcus", "Nadia",  "Peter",  "Ruth",  "Viktor"};

// A text in sentences, each with the white space before it.
std::vector<std::string_view> sentences_of(std::string_view text) {
  std::vector<std::string_view> all;
  size_t begin = 0;
  for (size_t i = 0; i + 1 < text.size(); i++) {
    const bool ends =
        (text[i] == '.' || text[i] == '!' || text[i] == '?') && (text[i + 1] == ' ' || text[i + 1] == '\n');
    if (!ends) continue;
    all.push_back(text.substr(begin, i + 1 - begin));
    begin = i + 1;
  }
  if (begin < text.size()) all.push_back(text.substr(begin));
  return all;
}

LkvText recall(const Model& model, const eval::Haystack& haystack, size_t length, eval::Random& random) {
  LkvText example{"recall", {}, {}};
  example.context = eval::tokens_from_start(model, haystack.stretch(length * kBytesAToken, random));
  if (example.context.size() < length || length < 2 * kContinuation)
    fail(ErrorCode::out_of_range, "train", "no text of ", length, " tokens that could be repeated");
  example.context.resize(length);
  example.continuation = model.tokenize("\n\nThe text above says: ");
  const size_t copied = kContinuation - example.continuation.size();
  const auto from = example.context.begin() + static_cast<ptrdiff_t>(random.below(length - copied));
  example.continuation.insert(example.continuation.end(), from, from + static_cast<ptrdiff_t>(copied));
  return example;
}

LkvText facts(const Model& model, const eval::Haystack& haystack, size_t length, eval::Random& random) {
  const std::string filler = haystack.stretch(length * kBytesAToken, random);
  const auto things = random.sample(kFacts, kNumbered.size()), names = random.sample(kFacts, kNames.size());
  LkvText example{"facts", {}, {}};
  std::vector<std::string> asked;
  std::vector<std::vector<Token>> told;
  size_t needed = 0;
  for (size_t i = 0; i < kFacts; i++) {
    const std::string what = cat("The ", kNumbered.at(things[i]), " of ", kNames.at(names[i]), " is ");
    const std::string value = std::to_string(100 + random.below(99900));
    told.push_back(model.tokenize(cat(" ", what, value, ".")));
    needed += told.back().size();
    asked.push_back(cat("\n\nQuestion: What is the ", kNumbered.at(things[i]), " of ", kNames.at(names[i]),
                        "?\nAnswer: ", what, value, "."));
  }
  if (needed >= length) fail(ErrorCode::out_of_range, "train", "facts of ", needed, " tokens in ", length);
  // The facts between sentences, one in each part of the text.
  example.context = eval::tokens_from_start(model, "");
  const size_t plain = length - needed - example.context.size();
  size_t done = 0, next = 0;
  std::vector<size_t> depths;
  for (size_t i = 0; i < kFacts; i++)
    depths.push_back(
        static_cast<size_t>((static_cast<double>(i) + random.unit()) * static_cast<double>(plain) / kFacts));
  for (const std::string_view sentence : sentences_of(filler)) {
    std::vector<Token> tokens = model.tokenize(sentence);
    tokens.resize(std::min(tokens.size(), plain - done));
    example.context.insert(example.context.end(), tokens.begin(), tokens.end());
    done += tokens.size();
    for (; next < kFacts && depths[next] <= done; next++)
      example.context.insert(example.context.end(), told[next].begin(), told[next].end());
    if (done == plain) break;
  }
  if (done < plain) fail(ErrorCode::out_of_range, "train", "no text of ", plain, " tokens to hide facts in");
  for (const size_t i : random.sample(kFacts, kFacts)) {
    const auto tokens = model.tokenize(asked[i]);
    example.continuation.insert(example.continuation.end(), tokens.begin(), tokens.end());
  }
  example.continuation.resize(std::min(example.continuation.size(), kContinuation));
  return example;
}

LkvText plain(const Model& model, const eval::Haystack& haystack, size_t length, eval::Random& random) {
  const auto tokens =
      eval::tokens_from_start(model, haystack.stretch((length + kContinuation) * kBytesAToken, random));
  if (tokens.size() < length + kContinuation)
    fail(ErrorCode::out_of_range, "train", "no text of ", length + kContinuation, " tokens");
  const auto middle = tokens.begin() + static_cast<ptrdiff_t>(length);
  return {"text", {tokens.begin(), middle}, {middle, middle + kContinuation}};
}

}  // namespace

LkvText make_lkv_text(const Model& model, const eval::Haystack& haystack, int length, uint64_t seed,
                      int index) {
  eval::Random random{seed, static_cast<uint64_t>(length), static_cast<uint64_t>(index)};
  constexpr std::array kMakers = {plain, recall, plain, facts};
  return kMakers.at(index % kMakers.size())(model, haystack, static_cast<size_t>(length), random);
}

}  // namespace kvedit::train
