// Plain-text tables and numbers for people.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace kvedit::cli {

class Table {
 public:
  /// A header that begins with '>' names a column aligned to the right.
  explicit Table(std::vector<std::string> headers);
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void print(std::ostream& out) const;

 private:
  std::vector<std::string> headers_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

std::string grouped(long long number);  // 12,345
std::string milliseconds(double ms);    // 0.42, 3.1, 1,234
std::string mebibytes(size_t bytes);    // 34.2
std::string percent(double fraction);   // 25.0%
/// Turns line breaks into spaces and trims both ends; cuts at `length` characters with "...".
std::string one_line(std::string_view text, size_t length = 60);
std::string trim(std::string_view text);
/// Returns the columns of the terminal on standard output; 0 where it is none.
size_t terminal_columns();
/// Breaks a text at spaces into lines of at most `columns`. The first stands behind something as wide as
/// `indent`, with which the others begin.
std::string wrapped(std::string_view text, size_t columns, const std::string& indent);

}  // namespace kvedit::cli
