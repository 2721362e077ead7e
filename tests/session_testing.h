// What the tests of sessions share: tiny random models of every architecture, and views of a session in
// which any difference shows.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cache/cache.h"
#include "kvedit/session.h"
#include "peer.h"
#include "tiny_model.h"

namespace kvedit {

TinySpec spec_of(const std::string& architecture);
std::shared_ptr<Model> load(const TinySpec& spec, const ModelOptions& options);
/// f32 throughout, two threads, blocks of 64 tokens.
ModelOptions exact_options();
/// Starts the pool's PoolStats::high_water_bytes anew.
void reset_high_water(const Model& model);
/// A random eraser for the model, from a GGUF file.
std::shared_ptr<const Adapter> random_eraser(const Model& model, float magnitude = 0.5F, int states = 0);

std::vector<Token> random_tokens(int count, uint32_t seed);
Session filled(const std::shared_ptr<Model>& model, int tokens = 200, uint32_t seed = 1);
Session fresh(const std::shared_ptr<Model>& model, std::span<const Token> tokens);
/// The session's snapshot, byte for byte.
std::string snapshot_bytes(const Session& session);
/// A copy of the session's cache.
Cache cache_of(const Session& session);
/// Every policy of the table as text, ready for this model: one that needs a file has one of random numbers.
std::vector<std::string> policy_texts(const Model& model);
/// A method's name with these tokens for its windows, if it has any: "repair:window=16,tail=16".
std::string with_window(const std::string& method, int tokens);
/// KL and differences of the next-token distributions.
Divergence from(Session& exact, Session& other);
/// The code of the Error that a call throws; a failure of the test where it throws none.
ErrorCode code_of(const std::function<void()>& call);

// What can be seen of a session: any difference shows.
struct View {
  std::vector<Token> tokens;
  std::vector<Position> positions;
  size_t entries, bytes;
  std::vector<float> logits;
  explicit View(Session& s)
      : tokens(s.tokens()),
        positions(s.positions()),
        entries(s.stats().entries),
        bytes(s.stats().bytes),
        logits(s.logits()) {}
  bool operator==(const View&) const = default;  // bitwise
};

}  // namespace kvedit
