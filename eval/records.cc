#include "eval/records.h"

#include <fstream>

#include "tools/text.h"

namespace kvedit::eval {

void read_records(const std::string& path, bool strict,
                  const std::function<void(std::string_view line)>& parse, std::vector<std::string>& notes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorCode::not_found, "eval", "cannot open ", path);
  std::string first;
  size_t number = 0, bad = 0;
  for (std::string line; std::getline(file, line);) {
    number++;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      parse(line);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::corrupt) throw;
      const std::string where = cat(path, ":", number, ": ", error.message());
      if (strict) fail(ErrorCode::corrupt, "eval", where);
      if (bad++ == 0) first = where;
    }
  }
  if (file.bad()) fail(ErrorCode::io, "eval", "cannot read ", path);
  if (bad > 0) notes.push_back(cat(bad, " malformed lines left out, the first: ", first));
}

}  // namespace kvedit::eval
