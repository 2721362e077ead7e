#include "conversation_file.h"

#include "common.h"

namespace kvedit::cli {
namespace {

constexpr int kMaxJsonDepth = 16;

// Which message and which of its fields the parser has reached.
class Reached {
 public:
  /// One of the parser's events.
  void follow(int depth, Json::parse_event_t event, const Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1 && messages_ != 0)
      in_messages_ = parsed == "messages";
    if (event == Json::parse_event_t::array_start && depth <= 1 && (depth == 0 || in_messages_))
      messages_ = depth;
    if (messages_ < 0) return;
    if (event == Json::parse_event_t::object_start && depth == messages_ + 1) {
      message_++;
      field_.clear();
    }
    if (event == Json::parse_event_t::key && depth == messages_ + 2) field_ = parsed.get<std::string>();
  }
  std::string text() const {
    if (message_ == 0) return "";
    return "message " + std::to_string(message_) + (field_.empty() ? "" : ", \"" + field_ + "\"") + ": ";
  }

 private:
  bool in_messages_ = false;
  int messages_ = -1;   // the array's depth
  size_t message_ = 0;  // from 1
  std::string field_;
};

// Cuts the place out of the parser's message: "line 3, column 12".
std::string line_of(const std::string& what) {
  const size_t begin = what.find("line "), end = what.find(':', begin);
  return begin == std::string::npos || end == std::string::npos ? ""
                                                                : " at " + what.substr(begin, end - begin);
}

Json parse_conversation(std::string_view text) {
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"))
    refuse("cli", "this is UTF-16; JSON is UTF-8");
  bool deep = false;
  Reached reached;
  const auto shallow = [&](int depth, Json::parse_event_t event, const Json& parsed) {
    deep |= depth > kMaxJsonDepth;
    if (!deep) reached.follow(depth, event, parsed);
    return !deep;  // what is deeper is not kept
  };
  const auto too_deep = [&] {
    if (deep) refuse("cli", "this is nested more than " + std::to_string(kMaxJsonDepth) + " deep");
  };
  Json json;
  try {
    json = Json::parse(text, shallow);
  } catch (const Json::parse_error& error) {
    too_deep();
    const std::string what = error.what();
    if (what.find("surrogate") != std::string::npos) {
      refuse("cli", reached.text() + "half a surrogate" + line_of(what) +
                        ": a character beyond \\uFFFF is two of them, \\ud83d\\ude00");
    }
    if (what.find("UTF-8") != std::string::npos)
      refuse("cli", reached.text() + "text is not UTF-8" + line_of(what));
    refuse("cli", reached.text() + "this is not JSON" + line_of(what));
  } catch (const Json::exception&) {  // a number beyond what a double holds
    too_deep();
    refuse("cli", reached.text() + "there is a number that cannot be read");
  }
  too_deep();
  return json;
}

// Text, null for none, or an array of parts of type text.
std::string content_of(const Json& content, const std::string& message) {
  if (content.is_null()) return "";
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) refuse("cli", message + "\"content\" is neither text nor an array of parts");
  std::string all;
  size_t number = 0;
  for (const Json& part : content) {
    const std::string here = message + "part " + std::to_string(++number) + " of \"content\" ";
    const bool typed = part.is_object() && part.contains("type") && part["type"].is_string();
    const std::string type = typed ? part["type"].get<std::string>() : "";
    if (!typed) refuse("cli", here + "has no text \"type\"");
    if (type != "text" && type != "input_text" && type != "output_text") {
      std::string why = here;
      refuse("cli", why.append("is of type \"").append(type).append("\"; only text can be read"));
    }
    if (!part.contains("text") || !part["text"].is_string()) refuse("cli", here + "has no text \"text\"");
    all += part["text"].get<std::string>();
  }
  return all;
}

Message message_of(const Json& json, const std::string& message) {
  if (!json.is_object()) refuse("cli", message + "this is no object");
  if (!json.contains("role") || !json["role"].is_string())
    refuse("cli", message + "there is no text \"role\"");
  for (const char* key : {"tool_calls", "function_call"}) {
    const bool calls = json.contains(key) && !json[key].is_null() && !json[key].empty();
    if (calls) refuse("cli", message + "\"" + key + "\" cannot be said: chat templates write text alone");
  }
  if (!json.contains("content")) refuse("cli", message + "there is no \"content\"");
  return {json["role"].get<std::string>(), content_of(json["content"], message)};
}

}  // namespace

std::vector<Message> parse_messages(std::string_view text) {
  Json json = parse_conversation(text);
  if (json.is_object() && json.contains("messages")) json = Json(json["messages"]);
  if (!json.is_array() || json.empty()) refuse("cli", "there is no array of messages");
  std::vector<Message> messages;
  for (const Json& one : json)
    messages.push_back(message_of(one, "message " + std::to_string(messages.size() + 1) + ": "));
  return messages;
}

std::vector<Message> read_messages(const std::string& path) {
  const std::string text = read_file(path);
  try {
    return parse_messages(text);
  } catch (const Error& error) {
    refuse("cli", path + ": " + std::string(error.message()));
  }
}

}  // namespace kvedit::cli
