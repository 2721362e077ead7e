#include "context/context.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <numeric>

#include "context/windows.h"
#include "tools/text.h"

namespace kvedit {
namespace {

#ifdef KVEDIT_SANITIZED
constexpr bool kChecksByDefault = true;
#else
constexpr bool kChecksByDefault = false;
#endif

// Throws for the first thing that does not agree.
class Check {
 public:
  Check(const Context& context, std::string_view where)
      : c_(context), t_(context.transcript), h_(context.hparams()), where_(where) {}

  void run() const {
    tokens();
    exact_prefix();
    messages();
    windows();
    const std::vector<Position> cached = positions_with_entries();
    for (int layer = 0; layer < c_.cache.layers(); layer++) {
      for (int head = 0; head < c_.cache.kv_heads(); head++) lane(layer, head, cached);
    }
  }

 private:
  template <typename... Parts>
  [[noreturn]] void wrong(const Parts&... parts) const {
    fail(ErrorCode::corrupt, where_, parts...);
  }

  void tokens() const {
    if (t_.tokens.size() != t_.positions.size()) {
      wrong("transcript of ", t_.tokens.size(), " tokens and ", t_.positions.size(), " positions");
    }
    for (size_t i = 0; i < t_.tokens.size(); i++) {
      if (t_.tokens[i] < 0 || t_.tokens[i] >= h_.vocabulary) {
        wrong("token ", t_.tokens[i], " is outside the vocabulary of ", h_.vocabulary);
      }
      if (t_.positions[i] < 0 || t_.positions[i] >= h_.context_length ||
          (i > 0 && t_.positions[i] <= t_.positions[i - 1])) {
        wrong("position ", t_.positions[i], " of token ", i, " is out of order or outside the context of ",
              h_.context_length);
      }
    }
  }

  void exact_prefix() const {
    const int exact = c_.exact;
    if (exact < 0 || exact > t_.size()) wrong("an exact prefix of ", exact, " of ", t_.size(), " tokens");
    if (exact == 0) return;
    if (c_.evicted) wrong("an exact prefix of ", exact, " tokens in an evicted cache");
    if (t_.positions[exact - 1] != exact - 1) {
      wrong("an exact prefix of ", exact, " tokens, the last at position ", t_.positions[exact - 1]);
    }
  }

  void messages() const {
    for (size_t i = 0; i < t_.messages.size(); i++) {
      const int begin = t_.messages[i].begin;
      const bool open = t_.messages[i].reply && i + 1 == t_.messages.size();  // maybe of no tokens yet
      if (begin < 0 || begin >= t_.size() + open || (i > 0 && begin <= t_.messages[i - 1].begin)) {
        wrong("message ", i, " begins at token ", begin, " of ", t_.size(), ", or out of order");
      }
    }
    if (!t_.messages.empty() && t_.messages[0].begin == 0 && c_.begun() && t_.message(0).size() > 0) {
      wrong("message 0 begins with the begin token, which is of no message");
    }
  }

  void windows() const {
    const Position held = c_.cache.held_from();
    if (held == 0) return;
    if (h_.window == 0 || t_.size() == 0 || !window_goes_on(c_.cache, h_, t_.positions.back())) {
      wrong("sliding-window layers of ", h_.window, " tokens hold positions ", held,
            ".. only, which is less than later queries read");
    }
  }

  // Of tokens and steering states, ascending.
  std::vector<Position> positions_with_entries() const {
    if (!std::is_sorted(t_.steered.begin(), t_.steered.end())) wrong("steering states out of order");
    std::vector<Position> all(t_.positions.begin(), t_.positions.end() - (t_.positions.empty() ? 0 : 1));
    all.insert(all.end(), t_.steered.begin(), t_.steered.end());
    std::sort(all.begin(), all.end());
    const bool twice = std::adjacent_find(all.begin(), all.end()) != all.end();
    const Position end = t_.positions.empty() ? 0 : t_.positions.back();
    if (twice || (!all.empty() && (all.front() < 0 || all.back() >= end))) {
      wrong("steering states at positions of tokens, or outside of the transcript");
    }
    return all;
  }

  void lane(int layer, int head, const std::vector<Position>& cached) const {
    const std::vector<Position> held = c_.cache.lane(layer, head).positions();
    if (!std::includes(cached.begin(), cached.end(), held.begin(), held.end())) {
      wrong("lane ", layer, "/", head, " holds positions that the transcript does not have");
    }
    const bool freed = h_.window > 0 && h_.sliding[layer] && c_.cache.held_from() > 0;
    if (!c_.evicted && !freed && held.size() != cached.size()) {
      wrong("lane ", layer, "/", head, " holds ", held.size(), " of ", cached.size(),
            " entries, though nothing was evicted");
    }
    if (!c_.evicted && freed) {
      const auto from = std::lower_bound(cached.begin(), cached.end(), c_.cache.held_from());
      if (!std::includes(held.begin(), held.end(), from, cached.end())) {
        wrong("lane ", layer, "/", head, " lacks entries from position ", c_.cache.held_from(),
              " on, where it holds all");
      }
    }
  }

  const Context& c_;
  const Transcript& t_;
  const Hparams& h_;
  std::string_view where_;
};

}  // namespace

Context::Context(std::shared_ptr<const Network> of, Cache empty, std::optional<Token> begin)
    : network(std::move(of)), begin_token(begin), cache(std::move(empty)) {}

Context Context::fork() const {
  Context copy(network, cache.fork(), begin_token);
  copy.transcript = transcript;
  copy.exact = exact;
  copy.evicted = evicted;
  copy.eviction = eviction;
  copy.erased = erased;
  return copy;
}

void Context::remember(std::vector<std::vector<Token>> texts, bool made_exact) {
  if (made_exact) return erased.clear();
  erased.insert(erased.end(), std::make_move_iterator(texts.begin()), std::make_move_iterator(texts.end()));
}

void Context::leave_last_pending() {
  if (transcript.size() == 0) return;
  const Span behind{transcript.positions.back(), std::numeric_limits<Position>::max()};
  cache.remove(behind);
  transcript.forget_steered(behind);
}

void Context::free_windows() noexcept {
  if (transcript.size() > 0) kvedit::free_windows(cache, hparams(), transcript.positions.back());
}

void Context::require_windows(std::string_view where) const {
  require_window(cache, hparams(), transcript.positions.back() - kWindowReserve, where,
                 "what comes after this edit");
}

void Context::check_room(size_t n) const {
  const auto limit = static_cast<size_t>(hparams().context_length);
  const auto used = static_cast<size_t>(transcript.next_position());
  if (used + n > limit) {
    fail(ErrorCode::context_full, "session", n, " tokens after position ", used,
         " pass the model's context, ", limit);
  }
}

std::vector<float> Context::look_ahead(Engine& engine, std::span<const Token> tokens) const {
  Cache ahead = cache.fork();
  std::vector<Position> positions(tokens.size());
  std::iota(positions.begin(), positions.end(), transcript.positions.back());
  ahead.append(positions);
  const Run run{&ahead, tokens, positions, Logits::all};
  return std::move(engine.forward({&run, 1})[0]);
}

void Context::check(std::string_view where) const { Check(*this, where).run(); }

void Context::check_edit(std::string_view where) const {
  if (checks_edits()) check(where);
}

bool checks_edits() {
  static const bool on = [] {
    const char* given = std::getenv("KVEDIT_CHECK");
    return given && *given ? std::string_view(given) != "0" : kChecksByDefault;
  }();
  return on;
}

}  // namespace kvedit
