// Erasing spans of a session: planned on a fork, where all that can fail happens, then swapped in.
#include <algorithm>
#include <optional>

#include "erase/method.h"
#include "session/mentions.h"
#include "session/state.h"
#include "session/transcript_text.h"

namespace kvedit {
namespace {

// Sorted and merged where they touch; `kept`: tokens in front that stay, the begin token. Throws for what
// does not hold.
std::vector<Span> checked(std::span<const Span> spans, int size, int kept) {
  if (spans.empty()) fail(ErrorCode::invalid_argument, "erase", "no span given");
  std::vector<Span> sorted(spans.begin(), spans.end());
  for (const Span& s : sorted) {
    if (s.begin < 0 || s.end > size) {
      fail(ErrorCode::out_of_range, "erase", "span ", s.begin, "..", s.end, " passes the context's end, ",
           size);
    }
    if (s.size() <= 0) fail(ErrorCode::invalid_argument, "erase", "span ", s.begin, "..", s.end, " is empty");
  }
  std::sort(sorted.begin(), sorted.end(), [](Span a, Span b) { return a.begin < b.begin; });
  std::vector<Span> merged;
  if (sorted.front().begin < kept) {
    sorted.front().begin = kept;
    if (sorted.front().size() <= 0) {
      fail(ErrorCode::invalid_argument, "erase",
           "the begin token stands in front of every text and cannot be erased");
    }
  }
  int erased = kept;
  for (const Span& s : sorted) {
    erased += s.size();
    if (!merged.empty() && s.begin < merged.back().end) {
      fail(ErrorCode::invalid_argument, "erase", "spans ", merged.back().begin, "..", merged.back().end,
           " and ", s.begin, "..", s.end, " overlap");
    }
    if (!merged.empty() && s.begin == merged.back().end) {
      merged.back().end = s.end;
    } else {
      merged.push_back(s);
    }
  }
  if (erased == size) {
    fail(ErrorCode::invalid_argument, "erase", "the spans cover all ", size,
         " tokens; nothing would be left");
  }
  return merged;
}

// Tells whether a token that is left stands at another position.
bool moved(std::vector<Position> before, std::span<const Span> erased, const std::vector<Position>& after) {
  for (size_t i = erased.size(); i-- > 0;)
    before.erase(before.begin() + erased[i].begin, before.begin() + erased[i].end);
  return before != after;
}

// Tells in the report what `spans` of the context say.
void describe(const Context& context, std::span<const Span> spans, const Tokenizer& tokenizer,
              EraseReport& report) {
  const Transcript& t = context.transcript;
  for (const Span& s : spans) {
    report.text.push_back(tokenizer.decode(t.text(s), t.behind(s.begin)));
    report.tokens_erased += s.size();
    report.text_bytes_erased += report.text.back().size();
  }
}

// Tells in the report where the text that is left still says what was erased.
void tell_what_is_left(const Transcript& left, std::span<const std::vector<Token>> erased,
                       const Tokenizer& tokenizer, EraseReport& report) {
  const TranscriptText text(tokenizer, left.tokens);
  for (const std::vector<Token>& tokens : erased) {
    const auto places = repeats(tokenizer, text, left.tokens, tokens);
    report.repeated.insert(report.repeated.end(), places.begin(), places.end());
  }
  report.mentions = mentions(tokenizer, text, erased, report.repeated);
}

}  // namespace

bool Session::State::verification_due(const EraseOptions& erase_options) {
  unverified += options.verify_rate;
  const bool due = unverified >= 1;
  if (due) unverified -= 1;
  return due || erase_options.verify;
}

Context Session::State::erased(const EraseOptions& erase_options, EraseReport& report) {
  const Stopwatch watch;
  const ChosenMethod method = choose_method(erase_options.method);
  const auto adapter = eraser_of(erase_options.adapter, method.info, "erase", "EraseOptions::adapter");
  const Tokenizer& tokenizer = model->tokenizer();
  report.method = erase_options.method;
  report.exactness = method.info.exactness;
  report.spans = checked(report.spans, context.transcript.size(), context.begun() ? 1 : 0);
  report.bytes_before = context.cache.bytes();
  describe(context, report.spans, tokenizer, report);
  std::vector<std::vector<Token>> texts;
  for (const Span& s : report.spans) texts.push_back(context.transcript.text(s));
  report.plan_ms = watch.ms();

  bool rebuilt = false;
  Context edited = [&] {
    const ModelImpl::Lease engine(*model);
    Edit edit(context.fork(), *engine, edit_options("erase", erase_options.progress));
    method.apply(edit, report.spans, adapter);
    report.note = edit.note();
    report.tokens_recomputed = edit.tokens_forwarded();
    report.forward_ms = edit.forward_ms();
    rebuilt = edit.rebuilt();
    return std::move(edit).finish();
  }();
  report.positions_changed = moved(context.transcript.positions, report.spans, edited.transcript.positions);
  if (edited.all_exact()) report.exactness = Exactness::exact;  // nothing that is left had read the spans
  if (rebuilt) {
    const Stopwatch evicting;
    add_note(report.note, evict_again(edited, erase_options.progress));
    report.evict_ms = evicting.ms();
  }
  check_limit(edited);
  report.bytes_after = edited.cache.bytes();
  if (method.info.needs_adapter) report.adapter = adapter->info().name;
  tell_what_is_left(edited.transcript, texts, tokenizer, report);
  edited.remember(std::move(texts), report.exactness == Exactness::exact);
  return edited;
}

EraseReport Session::State::planned(std::span<const Span> spans, const EraseOptions& erase_options) {
  const DryRun forwards_nothing;
  EraseReport report;
  report.spans.assign(spans.begin(), spans.end());
  EraseOptions silent = erase_options;
  silent.progress = {};
  erased(silent, report);
  report.plan_ms = report.forward_ms = report.evict_ms = 0;
  return report;
}

EraseReport Session::plan(std::span<const Span> spans, const EraseOptions& options) const {
  const Settled use(*state_);
  const CancelScope scope(options.cancel);
  return state_->planned(spans, options);
}

EraseReport Session::erase(std::span<const Span> spans, const EraseOptions& options) {
  const Settled use(*state_);
  const CancelScope scope(options.cancel);
  const Stopwatch watch;
  if (options.max_forwarded >= 0) {
    check_forwarded("erase", state_->planned(spans, options).tokens_recomputed, options.max_forwarded);
  }
  EraseReport report;
  report.spans.assign(spans.begin(), spans.end());
  Context edited = state_->erased(options, report);
  if (options.forget) {
    edited.erased.clear();
    state_->forget_history();
    state_->replace(std::move(edited));
  } else {
    state_->commit(std::move(edited), "erase (" + options.method + ")");
  }
  report.ms = watch.ms();
  if (state_->verification_due(options)) {
    try {
      report.verified = state_->verify(state_->context, {.progress = options.progress});
    } catch (const Error& error) {  // the erase is done all the same
      add_note(report.note, cat("not verified: ", error.what()));
    }
  }
  return report;
}

EraseReport Session::erase_text(std::string_view text, const EraseOptions& options, const FindOptions& how) {
  std::vector<Span> spans;
  for (const Found& place : find(text, how)) {
    // Places that share a token, or overlap, are one span.
    if (!spans.empty() && place.tokens.begin < spans.back().end) {
      spans.back().end = std::max(spans.back().end, place.tokens.end);
    } else {
      spans.push_back(place.tokens);
    }
  }
  if (spans.empty()) find_one(text, 0, how);  // throws, naming the nearest place
  return erase(spans, options);
}

EraseReport Session::erase_message(std::string_view role, int index, const EraseOptions& options) {
  return erase(message(role, index).tokens, options);
}

}  // namespace kvedit
