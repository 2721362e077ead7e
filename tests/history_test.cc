// "Exact" can be believed: random histories of every public call, on small models of every kind. After each
// step what can be seen of the session must agree, and whenever it calls itself exact its logits are a fresh
// session's.
//   KVEDIT_STEPS=N   steps of each kind (default 250); KVEDIT_SEED=N   where they begin (printed)
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "model/utf8.h"
#include "session_testing.h"

namespace kvedit {
namespace {

struct Kind {
  const char* name;
  TinySpec spec;
  const char* chat_template;
  SlidingWindow swa = SlidingWindow::full;
};
std::ostream& operator<<(std::ostream& out, const Kind& kind) { return out << kind.name; }

TinySpec small(const std::string& architecture, bool begin = false, bool sentencepiece = false) {
  TinySpec spec;
  spec.sentencepiece = sentencepiece;
  spec.architecture = architecture;
  spec.d_model = 32;
  spec.heads = architecture == "qwen2" ? 2 : 4;
  spec.kv_heads = 2;
  spec.d_ff = 64;
  spec.context = 640;
  if (architecture == "gemma3") spec.window = 24;
  if (begin) spec.edit = [](gguf_context* file) { begin_every_text(file); };
  return spec;
}

int number_of(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::atoi(text) : otherwise;
}

class HistoryTest : public testing::TestWithParam<Kind> {
 protected:
  HistoryTest() {
    ModelOptions options = exact_options();
    options.threads = 1;
    options.chat_template = GetParam().chat_template;
    model_ = load(GetParam().spec, options);
    erasers_ = {random_eraser(*model_), random_eraser(*model_, 0.5F, 3)};
    // A policy needs its window's queries, which swa=window holds for a few tokens alone.
    for (const std::string& text : policy_texts(*model_)) policies_.push_back(text);
  }

  int pick(int n) { return static_cast<int>(random_() % n); }
  bool chance(int percent) { return pick(100) < percent; }

  std::string words(int most) {
    static const char* const kWords[] = {" the",   " code",  " of",        " gate",  " 4471", " 9023", "\n",
                                         " hello", " and",   "<|im_end|>", " Zoë",   ".",     " when", " I",
                                         " was",   " there", " then",      "[INST]", " </s>"};
    std::string text = "So";
    for (int i = 1 + pick(most); i > 0; i--) text += kWords[pick(std::size(kWords))];
    return text;
  }
  Message message() {
    static const char* const kRoles[] = {"user", "assistant", "user", "system"};
    return {kRoles[pick(4)], words(12)};
  }

  std::vector<Span> spans(int size) {
    std::vector<Span> all;
    for (int n = 1 + pick(3), at = 0; n > 0 && at < size; n--) {
      const int begin = at + pick(size - at), end = std::min(size, begin + 1 + pick(40));
      if (begin < end) all.push_back({begin, end});
      at = end + 1;
    }
    return all;
  }

  // The conversation as a client may hold it now.
  void change(std::vector<Message>& talk) {
    for (int n = 1 + pick(2); n > 0; n--) {
      const int at = talk.empty() ? 0 : pick(static_cast<int>(talk.size()));
      switch (pick(6)) {
        case 0:
          talk.insert(talk.begin() + at, message());
          break;
        case 1:
          if (talk.size() > 1) talk.erase(talk.begin() + at);
          break;
        case 2:
          if (!talk.empty()) talk[at].content = words(12);
          break;
        case 3:
          if (talk.size() > 1) std::swap(talk[at], talk[pick(static_cast<int>(talk.size()))]);
          break;
        case 4:  // cut off
          if (!talk.empty()) {
            std::string& text = talk[at].content;
            text = utf8_prefix(text, pick(static_cast<int>(text.size()) + 1));
          }
          break;
        default:
          talk.push_back(message());
      }
    }
    while (talk.size() > 6) talk.erase(talk.begin());
  }

  // One call; what it was.
  std::string step(Session& s);
  std::string step_aside(Session& s, int size);
  void drive(Work& work);
  template <typename Report>
  Report run(Task<Report> task);
  void expect_sound(Session& s);
  void expect_exact(Session& s);

  std::shared_ptr<Model> model_;
  std::vector<std::shared_ptr<const Adapter>> erasers_;
  std::vector<std::string> policies_;
  std::vector<Message> talk_;
  std::mt19937 random_;
  bool capped_ = false;
};

// In steps, or in a batch beside another session that generates.
void HistoryTest::drive(Work& work) {
  if (chance(50)) return;
  Session other = filled(model_, 20, random_());
  Task<Generation> talk = other.start_generate({.max_tokens = 1 + pick(20), .temperature = 2});
  Batch batch(model_, {.block_tokens = 1 + pick(40)});
  batch.add(talk, chance(50) ? Priority::normal : Priority::background);
  batch.add(work, chance(80) ? Priority::normal : Priority::background);
  while (batch.step()) EXPECT_LE(batch.last().works, 2);
}

template <typename Report>
Report HistoryTest::run(Task<Report> task) {
  drive(task);
  return task.finish();
}

// Calls that go another way about what step() does too.
std::string HistoryTest::step_aside(Session& s, int size) {
  switch (pick(9)) {
    case 0:
      s.truncate(1 + pick(size));
      return "truncate";
    case 1:
      s.redo();
      return "redo";
    case 2: {
      const std::vector<Span> some = spans(size);
      const EraseOptions options{.method = "mend", .forget = chance(10)};
      const EraseReport plan = s.plan(some, options);
      EXPECT_EQ(s.stats().tokens, size);
      EXPECT_EQ(run(s.start_erase(some, options)).tokens_recomputed, plan.tokens_recomputed);
      return "plan and erase";
    }
    case 3:
      s.erase(spans(size), {.max_forwarded = pick(200)});
      return "erase within a limit";
    case 4:
      s.erase_text(chance(50) ? " the" : " 4471", {.method = "shift"}, {.loose = chance(50)});
      return "erase text";
    case 5:
      s.erase_message("", chance(50) ? -1 : 1, {.method = "drop"});
      return "erase message";
    case 6: {
      const auto guess = [this](std::span<const Token> transcript, int most) {
        return chance(50) ? lookup_draft(transcript, most) : random_tokens(pick(most + 1), random_());
      };
      GenerateOptions options{.max_tokens = 1 + pick(12), .temperature = 1, .draft = guess};
      options.seed = random_();
      run(s.start_generate(options));
      return "generate with drafts";
    }
    case 7: {
      std::stop_source source;
      source.request_stop();
      const Cancel cancel{.token = source.get_token()};
      if (chance(50)) s.append_tokens(random_tokens(30, 1), {}, cancel);
      s.erase(spans(size), {.method = "repair", .cancel = cancel});
      return "cancelled, but had nothing to forward";
    }
    default:
      run(s.start_append_tokens(random_tokens(1 + pick(60), random_())));
      return "append in steps";
  }
}

void HistoryTest::expect_exact(Session& s) {
  Session fresh_one = fresh(model_, s.tokens());
  const std::vector<Token> next = {5, 9, 77};
  const int room = s.stats().context_length - std::max(s.stats().next_position, s.stats().tokens);
  const auto few = std::span<const Token>(next).first(std::clamp(room, 0, 3));
  const Divergence d =
      divergence(fresh_one.logits_after(few), s.logits_after(few), model_->info().vocabulary);
  EXPECT_LT(d.max, 1e-6) << d;
}

void HistoryTest::expect_sound(Session& s) {
  const std::vector<Token> tokens = s.tokens();
  const std::vector<Position> positions = s.positions();
  const SessionStats stats = s.stats();
  ASSERT_EQ(tokens.size(), positions.size());
  EXPECT_EQ(stats.tokens, static_cast<int>(tokens.size()));
  for (size_t i = 1; i < positions.size(); i++) ASSERT_LT(positions[i - 1], positions[i]);
  ASSERT_LE(stats.exact_tokens, stats.tokens);
  for (int i = 0; i < stats.exact_tokens; i++) ASSERT_EQ(positions[i], i);
  EXPECT_TRUE(!stats.evicted || stats.exact_tokens == 0);
  EXPECT_TRUE(stats.evicted || GetParam().swa == SlidingWindow::window ||
              stats.entries == stats.full_entries);
  int end = 0;
  for (const MessageSpan& m : s.messages()) {
    EXPECT_LE(end, m.tokens.begin);
    EXPECT_LE(m.tokens.begin, m.tokens.end);
    end = m.tokens.end;
  }
  EXPECT_LE(end, stats.tokens);
  if (stats.tokens > 0 && stats.exact_tokens == stats.tokens) expect_exact(s);
}

std::string HistoryTest::step(Session& s) {
  const int size = s.stats().tokens;
  if (size > 0 && chance(20)) return step_aside(s, size);
  const int kind = pick(100);
  if (kind < 12 || size == 0) {
    if (chance(50)) {
      s.append(words(20), chance(30));
      return "append text";
    }
    s.append_tokens(random_tokens(1 + pick(60), random_()));
    return "append tokens";
  }
  if (kind < 20) {
    std::vector<Message> more = {message()};
    if (chance(40)) more.push_back(message());
    if (chance(25)) {
      const bool goes_on = !s.messages().empty() && s.messages().back().role == more[0].role;
      s.append_open(more[0]);
      const std::string text = more[0].content.substr(0, more[0].content.find_last_not_of('\n') + 1);
      EXPECT_NE(s.text().rfind(text), std::string::npos) << s.text();
      EXPECT_LE(s.text().size() - s.text().rfind(text), more[0].content.size()) << "nothing closes it";
      EXPECT_TRUE(goes_on || s.messages().back().role == more[0].role);
      return "append open";
    }
    if (chance(10)) {
      s.append_messages({}, true);
      return "open reply";
    }
    s.append_messages(more, chance(60));
    return "append messages";
  }
  if (kind < 46) {
    const std::vector<EraseMethodInfo> methods = erase_methods();
    const std::string method =
        with_window(methods[pick(static_cast<int>(methods.size()))].name, 1 + pick(32));
    const bool evicted = s.stats().evicted;
    const EraseReport report =
        s.erase(spans(size),
                {.method = method, .adapter = erasers_[pick(2)], .forget = chance(10), .verify = chance(5)});
    if (report.exactness == Exactness::exact && !s.stats().evicted) {
      EXPECT_EQ(s.stats().exact_tokens, s.stats().tokens) << method;
      expect_exact(s);
      EXPECT_TRUE(evicted || s.verify().max_kl < 1e-6);
    }
    return "erase " + method;
  }
  if (kind < 60) {
    change(talk_);
    const std::vector<EraseMethodInfo> methods = erase_methods();
    const std::string method = methods[pick(static_cast<int>(methods.size()))].name;
    const SyncReport report =
        run(s.start_sync(talk_, {.method = method, .reply = chance(60), .adapter = erasers_[pick(2)]}));
    EXPECT_EQ(report.tokens, s.stats().tokens);
    if (report.exactness == Exactness::exact && !s.stats().evicted) {
      EXPECT_EQ(s.stats().exact_tokens, s.stats().tokens) << method;
      expect_exact(s);
    }
    return "sync " + method;
  }
  if (kind < 66) {
    const std::string& policy = policies_[pick(static_cast<int>(policies_.size()))];
    s.evict(policy, Budget::fraction(0.3 + 0.7 * pick(100) / 100), {.seed = random_(), .undo = chance(30)});
    return "evict " + policy;
  }
  if (kind < 68) {
    capped_ = chance(50);
    if (capped_) {
      s.set_cap("streaming-llm", Budget::tokens(60 + pick(200)));
    } else {
      s.clear_cap();
    }
    return capped_ ? "set cap" : "clear cap";
  }
  if (kind < 74) {
    s.undo();
    return "undo";
  }
  if (kind < 79) {
    s = s.fork();
    return "fork";
  }
  if (kind < 85) {
    s.upgrade({.threads = 1, .block_tokens = 1 + pick(64)});
    if (chance(20)) s.append_tokens(random_tokens(1 + pick(9), random_()));
    if (chance(10)) {
      s.cancel_upgrade();
      return "cancel upgrade";
    }
    const std::vector<Token> appended = s.tokens();
    try {
      if (s.upgrade_status().state == UpgradeState::done || s.finish_upgrade().state == UpgradeState::done) {
        EXPECT_TRUE(s.stats().evicted || s.stats().exact_tokens == s.stats().tokens);
      }
    } catch (const Error&) {  // a policy's file is not there any more; what was appended stays
      EXPECT_EQ(s.upgrade_status().state, UpgradeState::failed);
      EXPECT_EQ(s.tokens(), appended);
      return "failed upgrade";
    }
    return "upgrade";
  }
  if (kind < 88) {
    const bool exact = s.stats().exact_tokens == size;
    const VerifyReport report = s.verify();
    EXPECT_TRUE(std::isfinite(report.mean_kl));
    EXPECT_TRUE(!exact || report.max_kl < 1e-6);
    return "verify";
  }
  if (kind < 93) {
    const Generation made =
        s.generate({.max_tokens = 1 + pick(8), .temperature = 1, .seed = static_cast<uint32_t>(random_())});
    if (chance(50)) talk_.push_back({"assistant", made.text});
    return "generate";
  }
  if (kind < 97) {
    s.logits();
    return "logits";
  }
  const std::string path = temporary_path("history.kv");
  s.save(path);
  s = Session::load(model_, path, {.swa = GetParam().swa});
  capped_ = false;
  return "save and load";
}

TEST_P(HistoryTest, WhatIsCalledExactIs) {
  const int steps = number_of("KVEDIT_STEPS", 250);
  const int seed = number_of("KVEDIT_SEED", 1);
  std::cout << "seed " << seed << ", " << steps << " steps\n";
  int done = 0, refused = 0;
  for (int run = 0; done + refused < steps; run++) {
    random_.seed(seed + 1000003 * run);
    Session s(model_, {.swa = GetParam().swa});
    talk_.clear();
    std::string history = "run " + std::to_string(run) + ":";
    for (int i = 0; i < 30 && done + refused < steps; i++) {
      const std::vector<Token> tokens = s.tokens();
      const int exact = s.stats().exact_tokens;
      try {
        history += " " + step(s) + ";";
        done++;
      } catch (const Error& error) {
        refused++;
        history += std::string(" (") + error.what() + ");";
        EXPECT_NE(error.code(), ErrorCode::corrupt) << error.what();
        EXPECT_NE(error.code(), ErrorCode::busy) << error.what();
        EXPECT_EQ(std::string(error.what()).find("is not after the last"), std::string::npos) << error.what();
        if (s.stats().cap_policy.empty()) {
          EXPECT_EQ(s.tokens(), tokens) << "a call that throws changes nothing";
          EXPECT_EQ(s.stats().exact_tokens, exact);
        }
      }
      expect_sound(s);
      if (HasFailure()) FAIL() << history;
    }
  }
  EXPECT_GT(done, refused);
}

std::vector<Kind> kinds() {
  return {{"llama", small("llama"), "chatml"},
          {"llama_begin", small("llama", true), "llama2"},
          {"llama_mistral", small("llama", true), "mistral-v1"},
          {"sentencepiece", small("llama", true, true), "llama2"},
          {"sentencepiece_opening", small("llama", false, true), "zephyr"},
          {"qwen2", small("qwen2"), "chatml"},
          {"qwen3", small("qwen3"), "vicuna"},
          {"gemma3_full", small("gemma3", true), "gemma"},
          {"gemma3_window", small("gemma3", true), "gemma", SlidingWindow::window}};
}

INSTANTIATE_TEST_SUITE_P(Kinds, HistoryTest, testing::ValuesIn(kinds()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace kvedit
