#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <set>

#include "eval/fill.h"
#include "eval/metrics/text.h"
#include "eval/ruler/ruler.h"
#include "tools/text.h"

namespace kvedit::eval::ruler {
namespace {

constexpr int kDepths = 40;
constexpr size_t kLeastNumber = 1000000, kMostNumber = 9999999;

std::string plural(Needle needle) {
  return needle == Needle::numbers ? "numbers" : needle == Needle::words ? "words" : "uuids";
}

// Version 4: all bits random but those that say so.
std::string uuid(Random& random) {
  std::array<unsigned, 8> words{};
  for (unsigned& word : words) word = static_cast<unsigned>(random.below(0x10000));
  char text[37];
  std::snprintf(text, sizeof text, "%04x%04x-%04x-%04x-%04x-%04x%04x%04x", words[0], words[1], words[2],
                0x4000U | (words[3] & 0xfffU), 0x8000U | (words[4] & 0x3fffU), words[5], words[6], words[7]);
  return text;
}

// Draws names that have not been drawn before.
class Names {
 public:
  Names(const Vocabulary& words, Random& random) : words_(words), random_(random) {}
  std::string draw(Needle kind) {
    for (;;) {
      std::string name = kind == Needle::uuids ? uuid(random_)
                         : kind == Needle::words
                             ? words_.compound(random_.below(words_.compounds()))
                             : std::to_string(kLeastNumber + random_.below(kMostNumber - kLeastNumber + 1));
      if (seen_.insert(name).second) return name;
    }
  }

 private:
  const Vocabulary& words_;
  Random& random_;
  std::set<std::string> seen_;
};

std::string needle(Needle kind, const std::string& key, const std::string& value) {
  return cat("One of the special magic ", plural(kind), " for ", key, " is: ", value, ".");
}

// The places in front of which a needle may stand, as RULER's: `count` of 40 depths.
std::vector<size_t> depths(size_t count, size_t sentences, Random& random) {
  std::vector<size_t> places;
  for (const size_t d : random.sample(count, kDepths))
    places.push_back(static_cast<size_t>(std::lround(100.0 * static_cast<double>(d) / (kDepths - 1))) *
                     sentences / 100);
  std::sort(places.begin(), places.end());
  return places;
}

void insert(std::vector<std::string>& lines, const std::vector<size_t>& places,
            const std::vector<std::string>& needles) {
  for (size_t i = places.size(); i-- > 0;)
    lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(places[i]), needles[i]);
}

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += between;
    text += part;
  }
  return text;
}

// The first `count` words of the essay, as sentences; after its last word come its first ones again.
std::vector<std::string> sentences(const std::vector<std::string>& essay, size_t count) {
  std::vector<std::string> all(1);
  for (size_t i = 0; i < count; i++) {
    const std::string& word = essay[i % essay.size()];
    if (!all.back().empty()) all.back() += ' ';
    all.back() += word;
    if (word.find_last_of(".!?") == word.size() - 1) all.emplace_back();
  }
  if (all.back().empty()) all.pop_back();
  return all;
}

// "a, b, and c"
std::string listed(const std::vector<std::string>& keys) {
  std::string text = keys[0];
  for (size_t i = 1; i < keys.size(); i++) text += (i + 1 < keys.size() ? ", " : ", and ") + keys[i];
  return text;
}

Prompt ask(const NiahShape& shape, const std::vector<std::string>& keys, std::string_view context) {
  const Wording& words = wording("niah");
  std::string text(words.text), prefix(words.prefix), type = plural(shape.value);
  if (shape.queries * shape.values == 1) {
    for (std::string* part : {&text, &prefix})
      *part = replaced(replaced(replaced(*part, "Some", "A"), "are all", "is"), "are", "is");
    type.pop_back();
  }
  const std::string query = listed(keys);
  const Fields fields = {{"type_needle_v", type}, {"query", query}};
  Prompt prompt = split_prompt(text, fill(prefix, fields), "");
  prompt.context = fill(prompt.context, fields).append(context);
  prompt.question = fill(prompt.question, fields);
  return prompt;
}

Prompt make(const NiahShape& shape, const Vocabulary& words, const std::vector<std::string>& essay,
            Random random, size_t size, size_t rest) {
  Names names(words, random);
  std::vector<std::string> keys, needles;
  std::vector<std::vector<std::string>> values;
  for (int k = 0; k < std::max(shape.keys, shape.queries); k++) {
    keys.push_back(names.draw(shape.key));
    values.emplace_back();
    for (int v = 0; v < shape.values; v++) {
      values.back().push_back(names.draw(shape.value));
      needles.push_back(needle(shape.value, keys.back(), values.back().back()));
    }
  }
  needles = random.shuffled(needles);
  const std::vector<size_t> asked = random.sample(shape.queries, keys.size());

  std::vector<std::string> lines;
  if (shape.filler == Filler::essay) {
    lines = sentences(essay, size);
    insert(lines, depths(needles.size(), lines.size(), random), needles);
  } else {
    std::vector<size_t> places = random.sample(needles.size(), std::max(size, needles.size()));
    std::sort(places.begin(), places.end());
    for (size_t i = 0; i < std::max(size, needles.size()); i++) {
      if (shape.filler == Filler::noise) {
        lines.push_back(noise_line());
        continue;
      }
      const std::string key = names.draw(shape.key);
      lines.push_back(needle(shape.value, key, names.draw(shape.value)));
    }
    insert(lines, places, needles);
  }
  if (rest > 0) lines.push_back(noise_sentences(rest));

  std::vector<std::string> queries;
  for (const size_t i : asked) queries.push_back(keys[i]);
  Prompt prompt = ask(shape, queries, joined(lines, shape.filler == Filler::essay ? " " : "\n"));
  for (const size_t i : asked)
    prompt.references.insert(prompt.references.end(), values[i].begin(), values[i].end());
  return prompt;
}

}  // namespace

Build niah(const NiahShape& shape, const PromptInputs& inputs) {
  constexpr size_t kBytesAToken = 12;  // more than any prose has
  Random random = inputs.random;
  std::vector<std::string> essay;
  if (shape.filler == Filler::essay) {
    const std::string text =
        inputs.haystack.stretch(static_cast<size_t>(inputs.length) * kBytesAToken, random);
    for (const std::u32string& word : split(code_points(text))) essay.push_back(utf8(word));
  }
  return [shape, &words = inputs.words, essay = std::move(essay), random](size_t size, size_t rest) {
    return make(shape, words, essay, random, size, rest);
  };
}

}  // namespace kvedit::eval::ruler
