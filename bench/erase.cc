#include <charconv>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>

#include "bench/comparison.h"
#include "tools/text.h"

namespace kvedit::bench {
namespace {

enum class PeerMethod { reads_again, removes, shifts };

// Chooses the peer's way to do the work of our method.
PeerMethod peer_method(const std::string& method, bool can_shift) {
  if (method == "drop") return PeerMethod::removes;
  return method == "shift" && can_shift ? PeerMethod::shifts : PeerMethod::reads_again;
}

std::string peer_action(const std::string& method, PeerMethod kind) {
  if (kind == PeerMethod::removes) return "llama_memory_seq_rm; its cache keeps its size";
  if (kind == PeerMethod::shifts) return "llama_memory_seq_rm and _seq_add; its cache keeps its size";
  if (method == "recompute") return "";  // the same
  return method == "shift" ? "reads again: its window cache cannot shift"
                           : "reads again: it has no such method";
}

// One repetition of one method, on a fork of the session held, until the next token's logits are there.
double erase_once(KveditRuntime& ours, Span span, const EraseOptions& options, EraseReport& report,
                  double& call_ms) {
  Session session = ours.held().fork();
  wait_until_idle();
  const Stopwatch timer;
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

// The figures of one method, of both runtimes.
struct EraseMeasurement {
  EraseReport report;
  std::vector<double> call_ms;
  std::map<std::string, std::vector<double>> peer_call_ms;
  int peer_recomputed = 0;
};

void add_details(Row& row, const EraseMeasurement& erased, double recompute_ms) {
  const EraseReport& report = erased.report;
  row.details["exactness"] = to_string(report.exactness);
  row.details["call_ms"] = {{"ours", to_json(summarize(erased.call_ms))}};
  row.details["tokens_recomputed"] = {{"ours", report.tokens_recomputed}};
  if (!row.peers.empty()) {
    row.details["call_ms"]["peer"] = to_json(summarize(erased.peer_call_ms.at(row.peer_setting())));
    row.details["tokens_recomputed"]["peer"] = erased.peer_recomputed;
  }
  row.details["cache_bytes"] = {{"before", report.bytes_before}, {"after", report.bytes_after}};
  row.note = cat(row.details["exactness"].get<std::string>(), ", ", report.tokens_recomputed,
                 " recomputed, without the next step ", number(summarize(erased.call_ms).median), " ms");
  if (recompute_ms <= 0) return;
  const double share = 100 * summarize(row.ours).median / recompute_ms;
  row.details["percent_of_our_recompute"] = rounded(share);
  char text[64];
  std::snprintf(text, sizeof text, ", %.3g%% of our recompute", share);
  row.note += text;
}

// One repetition of what stands beside each row; reading again, once for all rows that it stands beside.
void peer_erases(LlamaPeer& peer, ErasingPeer& erasing, Span span, int length, std::vector<Row>& rows,
                 std::vector<EraseMeasurement>& erased) {
  std::optional<PeerErased> again;
  for (size_t i = 0; i < rows.size(); i++) {
    const auto method = rows[i].details["method"].get<std::string>();
    const PeerMethod kind = peer_method(method, peer.can_shift());
    if (kind == PeerMethod::reads_again && !again) again = peer.read_again(span, length);
    const PeerErased made =
        kind == PeerMethod::reads_again ? *again : erasing.erase(span, length, kind == PeerMethod::shifts);
    rows[i].peer_action = peer_action(method, kind);
    rows[i].peers[peer.name()].push_back(made.ms);
    erased[i].peer_call_ms[peer.name()].push_back(made.call_ms);
    erased[i].peer_recomputed = made.recomputed;
  }
}

}  // namespace

Span erase_span(const EraseWork& work) {
  std::string_view text = work.depth;
  const bool percent = text.ends_with('%');
  if (percent) text.remove_suffix(1);
  double depth = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), depth);
  if (error != std::errc() || end != text.data() + text.size() ||
      !(depth >= 0 && depth <= (percent ? 100 : 1 << 24))) {
    fail(ErrorCode::invalid_argument, "bench", "depth '", work.depth,
         "' is neither a token's index nor a percentage like 10%");
  }
  const int begin = static_cast<int>(percent ? depth / 100 * work.length : depth);
  if (work.span < 1 || begin + work.span >= work.length) {
    fail(ErrorCode::out_of_range, "bench", "span ", begin, "..", begin + work.span,
         " leaves nothing behind it in a context of ", work.length, " tokens");
  }
  return {begin, begin + work.span};
}

std::vector<Row> erase_rows(Comparison& comparison, const EraseWork& work,
                            const std::vector<std::string>& methods) {
  const Span span = erase_span(work);
  KveditRuntime& ours = comparison.ours();
  ours.hold(work.length);
  std::vector<Row> rows;
  for (const std::string& method : methods) {
    Row row{.kind = "erase",
            .length = work.length,
            .what = cat(span.size(), "@", work.depth, "/", method),
            .unit = "ms"};
    row.details["method"] = method;
    row.command = cat("erase --length ", work.length, " --span ", work.span, " --depth ", work.depth,
                      " --method ", method);
    rows.push_back(std::move(row));
  }
  EraseOptions options;
  options.adapter = work.adapter ? work.adapter : ours.held().model()->zero_adapter(16);
  std::vector<EraseMeasurement> erased(methods.size());
  std::map<std::string, ErasingPeer> peers;
  for (const auto& peer : comparison.peers()) peers.try_emplace(peer->name(), *peer, span, work.length);
  comparison.interleave(
      [&] {
        for (size_t i = 0; i < methods.size(); i++) {
          options.method = methods[i];
          rows[i].ours.push_back(
              erase_once(ours, span, options, erased[i].report, erased[i].call_ms.emplace_back()));
        }
      },
      [&](LlamaPeer& peer) { peer_erases(peer, peers.at(peer.name()), span, work.length, rows, erased); });
  for (const auto& peer : comparison.peers()) {  // for the rows that follow
    peer->restore(peers.at(peer->name()).held);
    peer->read_on(work.length);
  }
  double recompute_ms = 0;
  for (size_t i = 0; i < methods.size(); i++) {
    if (methods[i] == "recompute") recompute_ms = summarize(rows[i].ours).median;
  }
  for (size_t i = 0; i < methods.size(); i++) add_details(rows[i], erased[i], recompute_ms);
  return rows;
}

}  // namespace kvedit::bench
