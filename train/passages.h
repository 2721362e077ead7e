// The texts that training reads: a JSON array of {"title", "text"}, or plain text files.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eval/haystack.h"

namespace kvedit::train {

struct Passage {
  std::string title;  // empty where there is none
  std::string text;
};

struct Passages {
  std::vector<Passage> all;
  uint64_t hash = 0;  // hash of titles and texts
};

/// Reads a file named *.json, or whatever eval::Haystack::load reads (a file, a folder of them); plain files
/// are cut into passages at empty lines. Throws Error: not_found, io, corrupt naming the record at fault,
/// invalid_argument where fewer than two passages are left.
Passages load_passages(const std::string& path);

/// Every `nth` passage by the hash of its text, so that what is held out does not depend on its place; at
/// least one, and never all. Of at least two passages.
struct Split {
  Passages training, held_out;
};
Split split(const Passages& passages, int nth = 16);

/// Joins their titles and texts to documents.
eval::Haystack haystack_of(const Passages& passages);

}  // namespace kvedit::train
