// The conversation of `kvedit chat`, and its slash commands.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common.h"
#include "prompt.h"

namespace kvedit::cli {

struct ChatState {
  Prompt prompt;
  Session session;
  std::vector<Session> aside;  // what /fork kept, the latest last
  std::string file;            // of /save and /load without a name
  GenerateOptions generate;
  std::shared_ptr<const Adapter> adapter;  // of steer; null until the shipped one is needed
  SessionOptions options = {};             // of /load
  CapOptions cap = {};                     // the same: snapshots hold none
};

/// Runs one "/command arguments" and prints what it did; false ends the chat. Throws Error.
bool run_slash_command(ChatState& chat, std::string_view line);

}  // namespace kvedit::cli
