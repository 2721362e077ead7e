// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string_view>

namespace kvedit {

/// How many bytes from the start are whole, valid characters; text.size() if all are.
size_t valid_utf8_bytes(std::string_view text);

/// At most `bytes` bytes of valid text, cut between characters.
std::string_view utf8_prefix(std::string_view text, size_t bytes);

}  // namespace kvedit
