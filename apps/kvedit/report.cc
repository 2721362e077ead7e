#include "report.h"

#include <cstdio>
#include <ostream>

#include "said.h"
#include "table.h"

namespace kvedit::cli {
namespace {

// Mean KL to the exact cache, in nats: rounding of these models' kernels, and what an answer rarely shows.
constexpr double kRounding = 2e-3;
constexpr double kClose = 1e-2;
constexpr double kFar = 1e-1;
constexpr double kLean = 0.05;  // nats a token

template <typename... Values>
std::string text_of(const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string verdict(const VerifyReport& r) {
  std::string text = r.mean_kl < kRounding ? "as the exact cache, within rounding"
                     : r.mean_kl < kClose  ? "close to the exact cache"
                     : r.mean_kl < kFar
                         ? "apart from the exact cache: upgrade, or recompute, where it matters"
                         : "far from the exact cache: upgrade, or recompute";
  if (r.erased_tokens == 0) return text;
  return text + (r.residual_preference > kLean ? "; it still leans towards the erased text"
                 : r.residual_preference < -kLean
                     ? "; it says the erased text less readily than the exact cache"
                     : "; it leans towards the erased text no more than the exact cache");
}

}  // namespace

Json verify_json(const Session& session, const VerifyReport& r) {
  Json json = {{"verdict", verdict(r)},
               {"mean_kl", r.mean_kl},
               {"max_kl", r.max_kl},
               {"same_top", r.same_top},
               {"residual_preference", r.residual_preference},
               {"erased_tokens", r.erased_tokens},
               {"mentions", mentions_json(session, r.mentions)},
               {"probes", r.probes},
               {"distributions", r.distributions},
               {"tokens_recomputed", r.tokens_recomputed},
               {"ms", r.ms}};
  if (!r.note.empty()) json["note"] = r.note;
  return json;
}

Json erase_json(const Session& session, const EraseReport& r) {
  Json json = {{"tokens_erased", r.tokens_erased},
               {"text_bytes_erased", r.text_bytes_erased},
               {"tokens_recomputed", r.tokens_recomputed},
               {"ms", r.ms},
               {"plan_ms", r.plan_ms},
               {"forward_ms", r.forward_ms},
               {"evict_ms", r.evict_ms},
               {"bytes_before", r.bytes_before},
               {"bytes_after", r.bytes_after},
               {"positions_changed", r.positions_changed},
               {"repeated", Json::array()},
               {"mentions", mentions_json(session, r.mentions)}};
  for (const Found& found : r.repeated) {
    json["repeated"].push_back(
        {{"begin", found.tokens.begin}, {"end", found.tokens.end}, {"text", found.text}});
  }
  if (!r.adapter.empty()) json["adapter"] = r.adapter;
  if (r.verified) json["verify"] = verify_json(session, *r.verified);
  if (!r.note.empty()) json["note"] = r.note;
  return json;
}

Json upgrade_json(const Session& session, const UpgradeStatus& s) {
  Json json = {{"state", to_string(s.state)},
               {"tokens_done", s.tokens_done},
               {"tokens_total", s.tokens_total},
               {"tokens_read", s.tokens_read},
               {"tokens_caught_up", s.tokens_caught_up},
               {"mentions", mentions_json(session, s.mentions)},
               {"ms", s.ms},
               {"swap_ms", s.swap_ms}};
  if (!s.error.empty()) json["error"] = s.error;
  return json;
}

Json evict_json(const EvictReport& r) {
  Json json = {{"policy", r.policy},
               {"keep", r.keep},
               {"entries_before", r.entries_before},
               {"entries_after", r.entries_after},
               {"bytes_before", r.bytes_before},
               {"bytes_after", r.bytes_after},
               {"pinned_bytes", r.pinned_bytes},
               {"lanes", {{"min", r.lane_min}, {"median", r.lane_median}, {"max", r.lane_max}}},
               {"score_ms", r.score_ms},
               {"compact_ms", r.compact_ms},
               {"lanes_table", Json::array()}};
  for (const LaneShare& lane : r.lanes) {
    json["lanes_table"].push_back({{"layer", lane.layer},
                                   {"head", lane.head},
                                   {"entries_before", lane.entries_before},
                                   {"entries_after", lane.entries_after}});
  }
  return json;
}

Json stats_json(const SessionStats& s) {
  return {{"tokens", s.tokens},
          {"context_length", s.context_length},
          {"entries", s.entries},
          {"full_entries", s.full_entries},
          {"held_from", s.held_from},
          {"bytes", s.bytes},
          {"shared_bytes", s.shared_bytes},
          {"pinned_bytes", s.pinned_bytes},
          {"undo_steps", s.undo_steps},
          {"exact_tokens", s.exact_tokens},
          {"steered_tokens", s.steered_tokens},
          {"evicted_by", s.evicted ? s.policy : ""},
          {"cap_policy", s.cap_policy},
          {"cap_evictions", s.cap_evictions},
          {"pool_bytes", s.pool.bytes_in_use},
          {"resident_bytes", s.pool.resident_bytes}};
}

void print_verified(std::ostream& out, const std::string& label, const VerifyReport& r) {
  out << label << ": " << verdict(r) << "\n"
      << text_of("  KL to the exact cache %.4f mean, %.4f max over %d distributions, same top token %.0f %%",
                 r.mean_kl, r.max_kl, r.distributions, 100 * r.same_top);
  if (r.erased_tokens > 0) {
    out << text_of("; erased text %+.4f nats a token over %d (positive: a trace is left)",
                   r.residual_preference, r.erased_tokens);
  }
  out << " (" << milliseconds(r.ms) << " ms)\n";
  if (!r.note.empty()) out << "  " << r.note << "\n";
}

void print_upgraded(std::ostream& out, const std::string& label, const UpgradeStatus& s) {
  out << label << ": exact now, " << grouped(s.tokens_read) << " tokens read in the background and "
      << s.tokens_caught_up << " at the swap, " << milliseconds(s.ms) << " ms in all\n";
}

void print_stats(std::ostream& out, const SessionStats& s) {
  const auto count = [](size_t n) { return grouped(static_cast<long long>(n)); };
  Table table({"what", ">value"});
  table.add({"tokens", grouped(s.tokens) + " of " + grouped(s.context_length)});
  table.add({"of these exact, from the start", grouped(s.exact_tokens)});
  table.add({"cache entries", count(s.entries) + " of " + count(s.full_entries)});
  if (s.held_from > 0) table.add({"sliding-window layers from position", grouped(s.held_from)});
  table.add({"cache MiB", mebibytes(s.bytes)});
  table.add({"shared with forks and history, MiB", mebibytes(s.shared_bytes)});
  table.add({"held by history besides, MiB", mebibytes(s.pinned_bytes)});
  table.add({"undo steps", std::to_string(s.undo_steps)});
  if (s.evicted) table.add({"evicted by", s.policy});
  if (!s.cap_policy.empty())
    table.add({"cap by", s.cap_policy + ", " + std::to_string(s.cap_evictions) + " evictions"});
  table.add({"all caches, MiB", mebibytes(s.pool.bytes_in_use)});
  table.add({"resident, MiB", mebibytes(s.pool.resident_bytes)});
  table.print(out);
}

}  // namespace kvedit::cli
