#include "eval/fill.h"

namespace kvedit::eval {

std::string fill(std::string_view pattern, const Fields& fields) {
  std::string text;
  while (!pattern.empty()) {
    const size_t brace = std::min(pattern.find('{'), pattern.size());
    text += pattern.substr(0, brace);
    pattern.remove_prefix(brace);
    size_t used = 0;
    for (const auto& [name, value] : fields) {
      if (!pattern.substr(std::min<size_t>(1, pattern.size())).starts_with(name)) continue;
      if (pattern.substr(1 + name.size(), 1) != "}") continue;
      text += value;
      used = name.size() + 2;
      break;
    }
    if (used == 0 && !pattern.empty()) {
      text += '{';
      used = 1;
    }
    pattern.remove_prefix(used);
  }
  return text;
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  for (size_t at = text.find(from); at != std::string_view::npos; at = text.find(from)) {
    result.append(text.substr(0, at)).append(to);
    text.remove_prefix(at + from.size());
  }
  return result.append(text);
}

}  // namespace kvedit::eval
