#include "train/passages.h"

#include <xxhash.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "eval/haystack.h"
#include "tools/text.h"

namespace kvedit::train {
namespace {

constexpr size_t kDocument = 60000;  // bytes of running text that passages are joined to
constexpr size_t kLeastBytes = 40;   // shorter paragraphs are headings
constexpr size_t kMostBytes = size_t{256} << 20;

uint64_t hash_of(const Passage& passage, uint64_t seed) {
  const uint64_t title = XXH3_64bits_withSeed(passage.title.data(), passage.title.size(), seed);
  return XXH3_64bits_withSeed(passage.text.data(), passage.text.size(), title);
}

std::vector<Passage> read_json(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorCode::not_found, "train", "no file \"", path, "\"");
  file.seekg(0, std::ios::end);
  const auto bytes = static_cast<size_t>(file.tellg());
  if (bytes > kMostBytes) {
    fail(ErrorCode::out_of_range, "train", "\"", path, "\" has ", bytes, " bytes, the limit is ", kMostBytes);
  }
  std::string text(bytes, '\0');
  file.seekg(0);
  if (!file.read(text.data(), static_cast<std::streamsize>(bytes)))
    fail(ErrorCode::io, "train", "cannot read \"", path, "\"");
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_array()) fail(ErrorCode::corrupt, "train", "\"", path, "\" is no JSON array of passages");
  std::vector<Passage> passages;
  for (const auto& record : json) {
    const bool sound = record.is_object() && record.contains("text") && record["text"].is_string() &&
                       (!record.contains("title") || record["title"].is_string());
    if (!sound) {
      fail(ErrorCode::corrupt, "train", "record ", passages.size(), " of \"", path,
           "\" is no {\"title\", \"text\"} of strings");
    }
    passages.push_back({record.value("title", ""), record["text"].get<std::string>()});
  }
  return passages;
}

std::vector<Passage> read_plain(const std::string& path) {
  std::vector<Passage> passages;
  const eval::Haystack haystack = eval::Haystack::load(path);
  for (const std::string& document : haystack.documents()) {
    for (size_t from = 0; from < document.size();) {
      const size_t end = std::min(document.find("\n\n", from), document.size());
      passages.push_back({"", document.substr(from, end - from)});
      from = end + 2;
    }
  }
  return passages;
}

}  // namespace

Passages load_passages(const std::string& path) {
  Passages passages;
  passages.all = path.ends_with(".json") ? read_json(path) : read_plain(path);
  std::erase_if(passages.all, [](const Passage& passage) { return passage.text.size() < kLeastBytes; });
  if (passages.all.size() < 2) {
    fail(ErrorCode::invalid_argument, "train", "\"", path, "\" has ", passages.all.size(),
         " passages of at least ", kLeastBytes, " bytes; 2 are needed");
  }
  for (const Passage& passage : passages.all) passages.hash = hash_of(passage, passages.hash);
  return passages;
}

Split split(const Passages& passages, int nth) {
  std::vector<bool> held(passages.all.size());
  for (size_t i = 0; i < held.size(); i++) held[i] = hash_of(passages.all[i], 0) % nth == 0;
  // Where chance leaves a part empty, one text changes sides: none is in both.
  const auto alike = [&] { return std::equal(held.begin() + 1, held.end(), held.begin()); };
  if (alike()) {
    std::vector<uint64_t> order;
    for (const Passage& passage : passages.all) order.push_back(hash_of(passage, 1));
    const uint64_t least = *std::min_element(order.begin(), order.end());
    for (size_t i = 0; i < held.size(); i++) held[i] = held[i] != (order[i] == least);
    if (alike())
      fail(ErrorCode::invalid_argument, "train", "all ", held.size(),
           " passages are one text: nothing to hold out");
  }
  Split parts;
  for (size_t i = 0; i < held.size(); i++) {
    Passages& part = held[i] ? parts.held_out : parts.training;
    part.hash = hash_of(passages.all[i], part.hash);
    part.all.push_back(passages.all[i]);
  }
  return parts;
}

eval::Haystack haystack_of(const Passages& passages) {
  std::vector<std::string> documents = {""};
  for (const Passage& passage : passages.all) {
    std::string& document = documents.back();
    document.append(document.empty() ? "" : "\n\n");
    document.append(passage.title).append(passage.title.empty() ? "" : "\n").append(passage.text);
    if (document.size() > kDocument) documents.emplace_back();
  }
  if (documents.back().empty()) documents.pop_back();
  return eval::Haystack(documents);
}

}  // namespace kvedit::train
