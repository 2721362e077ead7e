#include "table.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ostream>

namespace kvedit::cli {
namespace {

bool begins_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }

size_t width(std::string_view text) { return std::count_if(text.begin(), text.end(), begins_character); }

std::string formatted(const char* format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

}  // namespace

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {
  for (std::string& header : headers_) {
    right_.push_back(header.starts_with('>'));
    if (right_.back()) header.erase(0, 1);
  }
}

void Table::print(std::ostream& out) const {
  std::vector<size_t> widths(headers_.size());
  auto widen = [&widths](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  };
  widen(headers_);
  for (const auto& row : rows_) widen(row);
  auto print_row = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - width(row[i]), ' ');
      line += (right_[i] ? padding + row[i] : row[i] + padding) + "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << "\n";
  };
  print_row(headers_);
  std::vector<std::string> rule;
  for (const size_t w : widths) rule.emplace_back(w, '-');
  print_row(rule);
  for (const auto& row : rows_) print_row(row);
}

std::string grouped(long long number) {
  std::string digits = std::to_string(number);
  const int first = digits.starts_with('-') ? 1 : 0;
  for (int i = static_cast<int>(digits.size()) - 3; i > first; i -= 3) digits.insert(i, 1, ',');
  return digits;
}

std::string milliseconds(double ms) {
  if (ms >= 100) return grouped(std::llround(ms));
  return formatted(ms >= 1 ? "%.1f" : "%.2f", ms);
}

std::string mebibytes(size_t bytes) { return formatted("%.1f", static_cast<double>(bytes) / (1024 * 1024)); }

std::string percent(double fraction) { return formatted("%.1f%%", fraction * 100); }

std::string trim(std::string_view text) {
  const char* spaces = " \t\r\n";
  const size_t begin = text.find_first_not_of(spaces);
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(spaces) - begin + 1));
}

std::string one_line(std::string_view text, size_t length) {
  std::string line = trim(text);
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  if (width(line) <= length) return line;
  size_t bytes = 0;
  for (size_t characters = 0; bytes < line.size(); ++bytes) {
    if (begins_character(line[bytes]) && ++characters > length - 3) break;
  }
  return line.substr(0, bytes) + "...";
}

size_t terminal_columns() {
  winsize size{};
  return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

std::string wrapped(std::string_view text, size_t columns, const std::string& indent) {
  std::string lines;
  size_t column = indent.size();
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string_view word = text.substr(at, end - at);
    if (column > indent.size() && column + 1 + width(word) > columns) {
      lines += "\n" + indent;
      column = indent.size();
    } else if (column > indent.size()) {
      lines += ' ';
      column++;
    }
    lines += word;
    column += width(word);
    at = end + 1;
  }
  return lines;
}

}  // namespace kvedit::cli
