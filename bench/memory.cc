#include "bench/memory.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bench/kvedit_runtime.h"
#include "bench/llama_peer.h"
#include "bench/measure.h"
#include "bench/prose.h"
#include "tools/process.h"
#include "tools/resident.h"
#include "tools/text.h"

namespace kvedit::bench {
namespace {

constexpr int kAnyVocabulary = 256;  // tokens that every model has

// Returns the child's standard output. Its standard error is ours.
std::string output_of(const std::vector<std::string>& command) {
  const Finished finished = run_program(command);
  if (finished.exit_code != 0) {
    const auto json = nlohmann::json::parse(finished.output, nullptr, false);
    const bool told = json.is_object() && json.contains("error");
    const std::string code = told ? json["error"].value("code", "") : "";
    fail(code == to_string(ErrorCode::cancelled) ? ErrorCode::cancelled : ErrorCode::io, "bench",
         "the process that measures memory failed: ",
         told ? json["error"].value("message", "")
              : cat("exit code ", finished.exit_code, " ", finished.output));
  }
  return finished.output;
}

void decode(Session& session, std::span<const Token> tokens) {
  for (const Token token : tokens) session_step(session, token);
}

Memory memory_now() {
  return {static_cast<double>(peak_resident_bytes()), static_cast<double>(resident_bytes())};
}

}  // namespace

Memory do_memory_job(const MemoryJob& job) {
  const MemoryWork& work = job.work;
  const int capacity = work.length + work.tokens;
  const std::vector<Token> text = filler_tokens(kAnyVocabulary, capacity);
  if (work.side == "peer") {
    const PeerSetting setting{work.flash_attention, std::max(1, job.load.threads)};
    LlamaPeer peer(LlamaPeer::load(job.model), text, setting, capacity, {});
    peer.decode(work.length, work.tokens);
    return memory_now();
  }
  if (work.side != "ours")
    fail(ErrorCode::not_found, "bench", "no side '", work.side, "'; there are ours, peer");
  Session session(Model::load(job.model, job.load), job.session);
  session.append_tokens(std::span<const Token>(text).first(work.length));
  session.logits();
  if (!work.policy.empty()) session.evict(work.policy, Budget::parse(work.keep));
  decode(session, std::span<const Token>(text).subspan(work.length));
  return memory_now();
}

std::optional<Memory> MemoryMeter::measure(const MemoryWork& work) {
  if (program_.empty()) return std::nullopt;
  std::vector<std::string> command = {program_,   "bench",          "memory",   "--side",        work.side,
                                      "--length", cat(work.length), "--tokens", cat(work.tokens)};
  if (!work.policy.empty()) command.insert(command.end(), {"--policy", work.policy, "--keep", work.keep});
  if (!work.flash_attention) command.emplace_back("--no-flash");
  command.insert(command.end(), common_.begin(), common_.end());
  const auto found = known_.find(command);
  if (found != known_.end()) return found->second;
  const auto json = nlohmann::json::parse(output_of(command), nullptr, false);
  if (!json.is_object() || !json.contains("peak_memory_bytes")) {
    fail(ErrorCode::io, "bench", "the process that measures memory gave no number");
  }
  return known_[command] = {json["peak_memory_bytes"].get<double>(), json.value("resident_bytes", 0.0)};
}

}  // namespace kvedit::bench
