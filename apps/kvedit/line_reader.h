// Lines of a chat: with editing and history on a terminal, plain ones from a pipe.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace kvedit::cli {

class LineReader {
 public:
  LineReader();
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  bool terminal() const { return editor_ != nullptr; }
  /// The next line; what is pasted, or stands between """ and """, is one with line breaks in it. Nothing at
  /// the input's end, or at Ctrl-C.
  std::optional<std::string> next();

 private:
  struct Editor;
  std::optional<std::string> line(const char* prompt);
  std::unique_ptr<Editor> editor_;  // of a terminal
};

}  // namespace kvedit::cli
