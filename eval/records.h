// Files of records, a line of JSON each, as the benchmarks publish them.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace kvedit::eval {

/// Hands each line that is not empty to `parse`. What it throws Error(corrupt) for names file and line and,
/// unless `strict`, is left out; then the note says how many there were, and the first. Throws
/// Error(not_found, io) for the file.
void read_records(const std::string& path, bool strict,
                  const std::function<void(std::string_view line)>& parse, std::vector<std::string>& notes);

}  // namespace kvedit::eval
