#include <charconv>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>

#include "base/check.h"
#include "bench/contest.h"

namespace kvedit::bench {
namespace {

enum class Beside { reads_again, removes, shifts };

// What the peer does beside a method of ours.
Beside beside(const std::string& method, bool can_shift) {
  if (method == "drop") return Beside::removes;
  return method == "shift" && can_shift ? Beside::shifts : Beside::reads_again;
}

std::string beside_words(const std::string& method, Beside beside) {
  if (beside == Beside::removes) return "llama_memory_seq_rm; its cache keeps its size";
  if (beside == Beside::shifts) return "llama_memory_seq_rm and _seq_add; its cache keeps its size";
  if (method == "recompute") return "";  // the same
  return method == "shift" ? "reads again: its window cache cannot shift"
                           : "reads again: it has no such method";
}

// One repetition of one method, on a fork of the session held, until the next token's logits are there.
double erase_once(Ours& ours, Span span, const EraseOptions& options, EraseReport& report, double& call_ms) {
  Session session = ours.held().fork();
  wait_until_idle();
  const Timer timer;
  report = session.erase(span, options);
  call_ms = timer.ms();
  session.logits();
  return timer.ms();
}

// A peer's state without the last token, and a context to erase in that is just large enough, since turning
// keys costs what a context could hold.
struct ErasingPeer {
  PeerState held;
  std::unique_ptr<LlamaPeer> in_place;

  ErasingPeer(LlamaPeer& peer, Span span, int length) {
    peer.hold(length);
    peer.hold(length - 1);  // the last is pending
    held = peer.copy();
    in_place = peer.another(peer.setting(), length, 1);
    for (const bool shift : {false, true}) {  // its first time
      if (!shift || in_place->can_shift()) erase(span, length, shift);
    }
  }
  PeerErased erase(Span span, int length, bool shift) {
    in_place->restore(held);
    return in_place->remove(span, length, shift);
  }
};

// What each side made of a method.
struct Erased {
  EraseReport report;
  std::vector<double> call_ms;
  std::map<std::string, std::vector<double>> peer_call_ms;
  int peer_recomputed = 0;
};

void note(Row& row, const Erased& erased, double recompute_ms) {
  const EraseReport& report = erased.report;
  row.more["exactness"] = to_string(report.exactness);
  row.more["call_ms"] = {{"ours", to_json(summarize(erased.call_ms))}};
  row.more["tokens_recomputed"] = {{"ours", report.tokens_recomputed}};
  if (!row.peers.empty()) {
    row.more["call_ms"]["peer"] = to_json(summarize(erased.peer_call_ms.at(row.peer_setting())));
    row.more["tokens_recomputed"]["peer"] = erased.peer_recomputed;
  }
  row.more["cache_bytes"] = {{"before", report.bytes_before}, {"after", report.bytes_after}};
  row.note = cat(row.more["exactness"].get<std::string>(), ", ", report.tokens_recomputed,
                 " recomputed, without the next step ", number(summarize(erased.call_ms).median), " ms");
  if (recompute_ms <= 0) return;
  const double share = 100 * summarize(row.ours).median / recompute_ms;
  row.more["percent_of_our_recompute"] = rounded(share);
  char text[64];
  std::snprintf(text, sizeof text, ", %.3g%% of our recompute", share);
  row.note += text;
}

// One repetition of what stands beside each row; reading again, once for all rows that it stands beside.
void peer_erases(LlamaPeer& peer, ErasingPeer& erasing, Span span, int length, std::vector<Row>& rows,
                 std::vector<Erased>& erased) {
  std::optional<PeerErased> again;
  for (size_t i = 0; i < rows.size(); i++) {
    const auto method = rows[i].more["method"].get<std::string>();
    const Beside kind = beside(method, peer.can_shift());
    if (kind == Beside::reads_again && !again) again = peer.read_again(span, length);
    const PeerErased made =
        kind == Beside::reads_again ? *again : erasing.erase(span, length, kind == Beside::shifts);
    rows[i].beside = beside_words(method, kind);
    rows[i].peers[peer.name()].push_back(made.ms);
    erased[i].peer_call_ms[peer.name()].push_back(made.call_ms);
    erased[i].peer_recomputed = made.recomputed;
  }
}

}  // namespace

Span erase_span(const EraseWords& words) {
  std::string_view text = words.depth;
  const bool percent = text.ends_with('%');
  if (percent) text.remove_suffix(1);
  double depth = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), depth);
  if (error != std::errc() || end != text.data() + text.size() ||
      !(depth >= 0 && depth <= (percent ? 100 : 1 << 24))) {
    fail(ErrorCode::invalid_argument, "bench", "depth '", words.depth,
         "' is neither a token's index nor a percentage like 10%");
  }
  const int begin = static_cast<int>(percent ? depth / 100 * words.length : depth);
  if (words.span < 1 || begin + words.span >= words.length) {
    fail(ErrorCode::out_of_range, "bench", "span ", begin, "..", begin + words.span,
         " leaves nothing behind it in a context of ", words.length, " tokens");
  }
  return {begin, begin + words.span};
}

std::vector<Row> erase_rows(Contest& contest, const EraseWords& words,
                            const std::vector<std::string>& methods) {
  const Span span = erase_span(words);
  Ours& ours = contest.ours();
  ours.hold(words.length);
  std::vector<Row> rows;
  for (const std::string& method : methods) {
    Row row{.kind = "erase",
            .length = words.length,
            .what = cat(span.size(), "@", words.depth, "/", method),
            .unit = "ms"};
    row.more["method"] = method;
    row.words = cat("erase --length ", words.length, " --span ", words.span, " --depth ", words.depth,
                    " --method ", method);
    rows.push_back(std::move(row));
  }
  EraseOptions options;
  options.adapter = words.adapter ? words.adapter : ours.held().model()->zero_adapter(16);
  std::vector<Erased> erased(methods.size());
  std::map<std::string, ErasingPeer> peers;
  for (const auto& peer : contest.peers()) peers.try_emplace(peer->name(), *peer, span, words.length);
  contest.interleave(
      [&] {
        for (size_t i = 0; i < methods.size(); i++) {
          options.method = methods[i];
          rows[i].ours.push_back(
              erase_once(ours, span, options, erased[i].report, erased[i].call_ms.emplace_back()));
        }
      },
      [&](LlamaPeer& peer) { peer_erases(peer, peers.at(peer.name()), span, words.length, rows, erased); });
  for (const auto& peer : contest.peers()) {  // for the rows that follow
    peer->restore(peers.at(peer->name()).held);
    peer->read_on(words.length);
  }
  double recompute_ms = 0;
  for (size_t i = 0; i < methods.size(); i++) {
    if (methods[i] == "recompute") recompute_ms = summarize(rows[i].ours).median;
  }
  for (size_t i = 0; i < methods.size(); i++) note(rows[i], erased[i], recompute_ms);
  return rows;
}

}  // namespace kvedit::bench
