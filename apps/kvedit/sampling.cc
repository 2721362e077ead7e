#include "sampling.h"

#include <algorithm>
#include <limits>

namespace kvedit::cli {
namespace {

constexpr float kRepetitionPenalty = 1.1F;  // greedy replies of small models go round in circles without

}  // namespace

void add_sampling(CLI::App& command, GenerateOptions& options) {
  auto number = [&command](const std::string& flag, auto& value, const std::string& description, auto check) {
    command.add_option(flag, value, description)
        ->check(check)
        ->capture_default_str()
        ->type_name("X")
        ->group("Sampling");
  };
  command
      .add_option_function<int>(
          "-n,--max-tokens",
          [&options](int tokens) {
            options.max_tokens = tokens < 0 ? std::numeric_limits<int>::max() : tokens;
          },
          "Tokens to generate at most; -1: until the reply or the context ends")
      ->check(CLI::Range(1, 1 << 30) | CLI::IsMember({-1}))
      ->default_str(std::to_string(options.max_tokens))
      ->type_name("X")
      ->group("Sampling");
  options.repetition_penalty = kRepetitionPenalty;
  number("--temperature", options.temperature, "0: always the likeliest token", CLI::Range(0.0, 1000.0));
  number("--top-k", options.top_k, "Only the k likeliest tokens; 0: off", CLI::Range(0, 1 << 30));
  number("--top-p", options.top_p, "Only the likeliest that make up this share; 1: off",
         CLI::Range(0.0, 1.0));
  number("--min-p", options.min_p, "Only those with this share of the likeliest's; 0: off",
         CLI::Range(0.0, 1.0));
  number("--typical", options.typical_p, "Only the most typical that make up this share; 1: off",
         CLI::Range(0.0, 1.0));
  number("--top-n-sigma", options.top_n_sigma, "Only logits so many deviations from the largest; 0: off",
         CLI::Range(0.0, 1000.0));
  number("--xtc-probability", options.xtc_probability, "How often the likeliest are left out; 0: off",
         CLI::Range(0.0, 1.0));
  number("--xtc-threshold", options.xtc_threshold, "Of their probability", CLI::Range(0.0, 1.0));
  number("--mirostat", options.mirostat, "1 or 2: draw at a set surprise; 0: off", CLI::Range(0, 2));
  number("--mirostat-tau", options.mirostat_tau, "The surprise", CLI::Range(0.01, 1000.0));
  number("--repeat-penalty", options.repetition_penalty, "Of recent tokens; 1: off",
         CLI::Range(0.01, 1000.0));
  number("--frequency-penalty", options.frequency_penalty, "For each time it was said; 0: off",
         CLI::Range(-1000.0, 1000.0));
  number("--presence-penalty", options.presence_penalty, "Of what was said at all; 0: off",
         CLI::Range(-1000.0, 1000.0));
  number("--dry-multiplier", options.dry_multiplier, "Against sequences said before; 0: off",
         CLI::Range(0.0, 1000.0));
  number("--min-tokens", options.min_tokens, "Tokens before the reply may end", CLI::Range(0, 1 << 30));
  command.add_option("--grammar", options.grammar.rules, "GBNF that the text must follow")
      ->type_name("RULES")
      ->group("Sampling");
  command
      .add_option_function<int>(
          "--draft",
          [&options](int most) {
            options.draft = [most](std::span<const Token> transcript, int room) {
              return lookup_draft(transcript, std::min(most, room));
            };
          },
          "Guess up to N tokens from what was said before; the text stays the same")
      ->check(CLI::Range(1, 1024))
      ->type_name("N")
      ->group("Sampling");
  command.add_option("--seed", options.seed, "Of the draw")
      ->capture_default_str()
      ->type_name("N")
      ->group("Sampling");
  command.add_option("--stop", options.stop, "End before this text; repeatable")
      ->type_name("TEXT")
      ->allow_extra_args(false)
      ->group("Sampling");
}

bool cut_short(const Generation& generation) {
  return generation.stop != StopReason::end_token && generation.stop != StopReason::stop_string;
}

int unused_positions(const Session& session, const Generation& generation) {
  if (generation.stop != StopReason::context_full) return 0;
  const SessionStats stats = session.stats();
  return stats.next_position - stats.tokens;
}

}  // namespace kvedit::cli
