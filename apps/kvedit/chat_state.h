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
  std::vector<Session> aside;  // sessions that /fork kept, the latest last
  std::string file;            // default file of /save and /load
  GenerateOptions generate;
  std::shared_ptr<const Adapter> adapter;  // the eraser of steer; null until the shipped one is needed
  SessionOptions options = {};             // options of /load
  CapOptions cap = {};                     // cap of /load, since snapshots hold none
  std::string system = {};                 // system text of a new chat, after /clear too
  bool json = false;                       // every line of standard output is an object
};

/// Generates the reply, which is opened already, and prints it as it comes unless the chat is in JSON.
Json reply_to_user(ChatState& chat);
/// Reads a document into a user's turn, which stays open for words about it; returns its tokens.
int read_document(ChatState& chat, const std::string& file);

/// Runs one "/command arguments" and prints what it did; false ends the chat. Throws Error.
bool run_slash_command(ChatState& chat, std::string_view line);

}  // namespace kvedit::cli
