#include "bench/peak.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "bench/llama_peer.h"
#include "bench/measure.h"
#include "bench/ours.h"
#include "bench/prose.h"

namespace kvedit::bench {
namespace {

constexpr int kAnyVocabulary = 256;  // tokens that every model has

// What a program writes to standard output. Its standard error is ours.
std::string output_of(const std::vector<std::string>& words) {
  std::array<int, 2> pipe_ends{};
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0)
    fail(ErrorCode::io, "bench", "no pipe: ", std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int spawned = posix_spawn(&child, words[0].c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_ends[1]);
  std::string output;
  std::array<char, 4096> block{};
  while (spawned == 0) {
    const ssize_t n = ::read(pipe_ends[0], block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;  // Ctrl-C reaches the child too, which then ends
    if (n <= 0) break;
    output.append(block.data(), n);
  }
  close(pipe_ends[0]);
  if (spawned != 0) fail(ErrorCode::io, "bench", "cannot run ", words[0], ": ", std::strerror(spawned));
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (status != 0) {
    const auto json = nlohmann::json::parse(output, nullptr, false);
    const bool told = json.is_object() && json.contains("error");
    const std::string code = told ? json["error"].value("code", "") : "";
    fail(code == name(ErrorCode::cancelled) ? ErrorCode::cancelled : ErrorCode::io, "bench",
         "the process that measures memory failed: ", told ? json["error"].value("message", "") : output);
  }
  return output;
}

void decode(Session& session, std::span<const Token> tokens) {
  for (const Token token : tokens) session_step(session, token);
}

}  // namespace

size_t do_peak_job(const PeakJob& job) {
  const std::vector<Token> text = filler_tokens(kAnyVocabulary, job.length + job.tokens);
  if (job.side == "peer") {
    LlamaPeer peer(job.model, text, std::max(1, job.load.threads), job.length + job.tokens, {});
    peer.decode(job.length, job.tokens);
    return peak_resident_bytes();
  }
  if (job.side != "ours")
    fail(ErrorCode::not_found, "bench", "no side '", job.side, "'; there are ours, peer");
  Session session(Model::load(job.model, job.load));
  session.append_tokens(std::span<const Token>(text).first(job.length));
  session.logits();
  if (!job.policy.empty()) session.evict(job.policy, Budget::parse(job.keep));
  decode(session, std::span<const Token>(text).subspan(job.length));
  return peak_resident_bytes();
}

std::optional<double> PeakMeter::bytes(const std::string& side, int length, int tokens,
                                       const std::string& policy, const std::string& keep) {
  if (program_.empty()) return std::nullopt;
  std::vector<std::string> words = {program_,   "bench",     "peak",     "--side",   side,
                                    "--length", cat(length), "--tokens", cat(tokens)};
  if (!policy.empty()) words.insert(words.end(), {"--policy", policy, "--keep", keep});
  words.insert(words.end(), common_.begin(), common_.end());
  const auto found = known_.find(words);
  if (found != known_.end()) return found->second;
  const auto json = nlohmann::json::parse(output_of(words), nullptr, false);
  if (!json.is_object() || !json.contains("peak_memory_bytes")) {
    fail(ErrorCode::io, "bench", "the process that measures memory gave no number");
  }
  return known_[words] = json["peak_memory_bytes"].get<double>();
}

}  // namespace kvedit::bench
