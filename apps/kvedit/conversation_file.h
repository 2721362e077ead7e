// Conversations as clients keep them, in OpenAI's shape.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kvedit/model.h"

namespace kvedit::cli {

/// Reads the messages of a JSON array of {"role", "content"}, or of an object with one as "messages";
/// content is text, null, or an array of parts that are text. Throws Error(invalid_argument) naming the
/// message and the field at fault.
std::vector<Message> parse_messages(std::string_view json);
/// Reads a file of them. Throws also what read_file() does.
std::vector<Message> read_messages(const std::string& path);

}  // namespace kvedit::cli
