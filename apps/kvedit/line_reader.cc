#include "line_reader.h"

#include <histedit.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <string_view>

#include "common.h"

namespace kvedit::cli {
namespace {

constexpr int kHistory = 1000;  // lines
constexpr std::string_view kBlock = "\"\"\"";

// Terminals put these around what is pasted, if asked to.
constexpr const char* kMarkPastes = "\033[?2004h";
constexpr const char* kNoMarks = "\033[?2004l";
constexpr const char* kPasteBegins = "\\e[200~";
constexpr std::wstring_view kPasteEnds = L"\033[201~";

unsigned char take_paste(EditLine* editor, int) {
  std::wstring text;
  wchar_t character = 0;
  while (el_wgetc(editor, &character) == 1) {
    text += character == L'\r' ? L'\n' : character;
    if (!text.ends_with(kPasteEnds)) continue;
    text.resize(text.size() - kPasteEnds.size());
    break;
  }
  while (text.ends_with(L'\n')) text.pop_back();
  return el_winsertstr(editor, text.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
}

}  // namespace

struct LineReader::Editor {
  Editor() : file(cache_folder() + "/chat_history") {
    el_set(edit, EL_EDITOR, "emacs");
    el_set(edit, EL_CLIENTDATA, this);
    el_set(
        edit, EL_PROMPT, +[](EditLine* e) {
          Editor* self = nullptr;
          el_get(e, EL_CLIENTDATA, &self);
          return const_cast<char*>(
              self->prompt);  // NOLINT(cppcoreguidelines-pro-type-const-cast): it is only printed
        });
    el_set(edit, EL_ADDFN, "kvedit-paste", "Insert what is pasted", take_paste);
    el_set(edit, EL_BIND, kPasteBegins, "kvedit-paste", nullptr);
    el_set(edit, EL_HIST, ::history, lines);
    el_source(edit, nullptr);
    HistEvent event;
    ::history(lines, &event, H_SETSIZE, kHistory);
    ::history(lines, &event, H_LOAD, file.c_str());  // there is none the first time
  }
  ~Editor() {
    HistEvent event;
    ::history(lines, &event, H_SAVE, file.c_str());
    history_end(lines);
    el_end(edit);
  }
  Editor(const Editor&) = delete;
  Editor& operator=(const Editor&) = delete;

  EditLine* edit = el_init("kvedit", stdin, stdout, stderr);
  History* lines = history_init();
  std::string file;
  const char* prompt = "";
};

LineReader::LineReader() {
  if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) editor_ = std::make_unique<Editor>();
}

LineReader::~LineReader() = default;

std::optional<std::string> LineReader::line(const char* prompt) {
  if (!editor_) {
    std::string text;
    return std::getline(std::cin, text) ? std::optional(text) : std::nullopt;
  }
  editor_->prompt = prompt;
  std::cout << kMarkPastes << std::flush;
  int length = 0;
  const char* const read = el_gets(editor_->edit, &length);
  std::cout << kNoMarks << std::flush;
  if (read == nullptr || length <= 0) return std::nullopt;
  std::string text(read, length);
  while (text.ends_with('\n')) text.pop_back();
  HistEvent event;
  if (!text.empty()) ::history(editor_->lines, &event, H_ENTER, text.c_str());
  return text;
}

std::optional<std::string> LineReader::next() {
  std::optional<std::string> text = line("> ");
  if (!text || !text->starts_with(kBlock)) return text;
  std::string block = text->substr(kBlock.size());
  while (!block.ends_with(kBlock)) {
    const std::optional<std::string> more = line(". ");
    if (!more) return block;
    block += "\n" + *more;
  }
  block.resize(block.size() - kBlock.size());
  return block;
}

}  // namespace kvedit::cli
