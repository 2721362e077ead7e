// What write_fixtures writes and compatibility_test reads.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "kvedit/session.h"

namespace kvedit {

/// f32 throughout, so that logits are the same on every machine but for the order of sums.
inline std::shared_ptr<Model> fixture_model(const std::string& path) {
  ModelOptions options;
  options.threads = 1;
  options.linear = LinearKernel::f32;
  options.cache = CacheType::f32;
  options.chat_template = "chatml";
  return Model::load(path, options);
}

/// Everything of a session that a caller can see.
inline nlohmann::ordered_json described(Session& session) {
  const SessionStats stats = session.stats();
  nlohmann::ordered_json json = {{"tokens", session.tokens()},
                                 {"positions", session.positions()},
                                 {"entries", stats.entries},
                                 {"exact", stats.evicted ? 0 : stats.exact_tokens},
                                 {"steered", stats.steered_tokens},
                                 {"evicted", stats.evicted},
                                 {"policy", stats.policy},
                                 {"held_from", stats.held_from},
                                 {"messages", nlohmann::ordered_json::array()}};
  for (const MessageSpan& message : session.messages())
    json["messages"].push_back({message.role, message.tokens.begin, message.tokens.end});
  const VerifyReport left = session.verify();  // asks for the texts that were erased
  json["erased_tokens"] = left.erased_tokens;
  json["logits"] = session.logits();
  return json;
}

}  // namespace kvedit
