#include "eval/haystack.h"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "tools/text.h"

namespace kvedit::eval {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSpace = " \n";
constexpr uintmax_t kMostBytes = 256U << 20U;

std::string as_prose(std::string_view text) {
  std::string prose;
  size_t lines = 0;
  bool space = false;
  for (const char c : text) {
    if (c == ' ' || (c >= '\t' && c <= '\r')) {
      space = true;
      lines += c == '\n';
      continue;
    }
    if (space && !prose.empty()) prose += lines > 1 ? "\n\n" : " ";
    space = false;
    lines = 0;
    prose += c;
  }
  return prose;
}

std::vector<fs::path> files_of(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) fail(ErrorCode::not_found, "eval", "no haystack at ", path.string());
  if (!fs::is_directory(status)) return {path};
  std::set<fs::path> all, texts;  // canonical: of a file and a link to it, one
  for (const fs::directory_entry& entry : fs::directory_iterator(path, error)) {
    std::error_code unreadable;
    if (!entry.is_regular_file(unreadable)) continue;
    const fs::path file = fs::canonical(entry.path(), unreadable);
    all.insert(file);
    if (entry.path().extension() == ".txt") texts.insert(file);
  }
  if (error) fail(ErrorCode::io, "eval", "cannot list ", path.string(), ": ", error.message());
  const std::set<fs::path>& chosen = texts.empty() ? all : texts;
  return {chosen.begin(), chosen.end()};
}

std::string read(const fs::path& path, uintmax_t& room) {
  std::error_code error;
  const uintmax_t bytes = fs::file_size(path, error);
  if (error) fail(ErrorCode::io, "eval", "cannot read ", path.string(), ": ", error.message());
  if (bytes > room) {
    fail(ErrorCode::out_of_range, "eval", path.string(), " makes the haystack larger than ", kMostBytes,
         " bytes");
  }
  room -= bytes;
  std::ifstream file(path, std::ios::binary);
  std::string text(bytes, '\0');
  if (!file.read(text.data(), static_cast<std::streamsize>(bytes)))
    fail(ErrorCode::io, "eval", "cannot read ", path.string());
  return text;
}

}  // namespace

Haystack::Haystack(const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    std::string prose = as_prose(text);
    hash_ = XXH3_64bits_withSeed(prose.data(), prose.size(), hash_);
    if (!prose.empty()) documents_.push_back(std::move(prose));
  }
  if (documents_.empty()) fail(ErrorCode::invalid_argument, "eval", "the haystack has no text");
}

Haystack Haystack::load(const std::string& path) {
  std::vector<std::string> texts;
  uintmax_t room = kMostBytes;
  for (const fs::path& file : files_of(path)) texts.push_back(read(file, room));
  return Haystack(texts);
}

std::string Haystack::stretch(size_t bytes, Random& random) const {
  size_t document = random.below(documents_.size());
  size_t from = random.below(documents_[document].size());
  std::string text;
  while (text.size() < bytes) {
    if (!text.empty()) text += "\n\n";
    text += words(documents_[document], from, std::string::npos)
                .substr(0, bytes + 1);  // one too many: cut below, between words
    from = 0;
    document = (document + 1) % documents_.size();
  }
  return std::string(words(text, 0, bytes));
}

std::string_view words(std::string_view text, size_t from, size_t bytes) {
  if (from > 0) from = text.find_first_of(kSpace, from - 1);  // a word may begin at `from` itself
  from = text.find_first_not_of(kSpace, from);
  if (from == std::string_view::npos) return {};
  text.remove_prefix(from);
  if (bytes >= text.size()) return text;
  const size_t end = text.find_last_of(kSpace, bytes);
  if (end == std::string_view::npos) return {};
  return text.substr(0, text.find_last_not_of(kSpace, end) + 1);
}

}  // namespace kvedit::eval
