// Files of records as the benchmarks publish them, a line of JSON each.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace kvedit::eval {

/// Hands each line that is not empty to `parse`. A line that throws Error(corrupt) ends the reading with an
/// error that names file and line if `strict`; else it is left out, and a note says how many were, and the
/// first. Throws Error(not_found, io) for the file.
void read_records(const std::string& path, bool strict,
                  const std::function<void(std::string_view line)>& parse, std::vector<std::string>& notes);

}  // namespace kvedit::eval
