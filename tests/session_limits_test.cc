// Limits of memory, and text in a session: how it is found, and how it stops.
#include <gtest/gtest.h>

#include "session_testing.h"

namespace kvedit {
namespace {

TEST(SessionLimitsTest, APoolLimitIsATypedErrorAndNothingChanges) {
  ModelOptions options = exact_options();
  options.pool_limit_bytes = 1U << 20U;
  const auto model = load(spec_of("llama"), options);
  Session session(model);
  session.append_tokens(std::vector<Token>(100, 5));
  const View before(session);
  std::vector<Session> others;
  EXPECT_EQ(code_of([&] {
              for (int i = 0; i < 1000; i++) {
                others.emplace_back(model);
                others.back().append_tokens(std::vector<Token>(100, 6));
              }
            }),
            ErrorCode::no_memory);
  EXPECT_LE(model->pool().bytes_in_use, options.pool_limit_bytes);
  EXPECT_EQ(code_of([&] { session.append_tokens(std::vector<Token>(300, 6)); }), ErrorCode::no_memory);
  const auto adapter = random_eraser(*model);
  for (const EraseMethodInfo& method : erase_methods()) {
    try {
      session.erase(Span{2, 5}, {.method = method.name, .adapter = adapter});
      session.undo();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::no_memory) << method.name;
    }
    others.back() = Session(model);
    EXPECT_EQ(View(session), before) << method.name;
  }
  others.clear();
  session.append_tokens(std::vector<Token>(300, 6));  // what the others held is free again
}

TEST(SessionLimitsTest, ASessionsOwnLimitHolds) {
  const auto model = load(spec_of("llama"), exact_options());
  Session session(model, {.byte_limit = 200000});
  session.append_tokens(std::vector<Token>(64, 5));
  EXPECT_EQ(code_of([&] { session.append_tokens(std::vector<Token>(400, 5)); }), ErrorCode::no_memory);
  EXPECT_EQ(session.tokens().size(), 64U);
}

TEST(SessionLimitsTest, FreeingWindowsWithoutSlidingLayersChangesNothing) {
  const auto llama = load(spec_of("llama"), exact_options());
  SessionOptions options;
  options.swa = SlidingWindow::window;
  Session session(llama, options);
  session.append_tokens(random_tokens(450, 1));
  Session other = fresh(llama, random_tokens(450, 1));
  EXPECT_TRUE(View(session) == View(other));
  session.set_cap("h2o", Budget::tokens(200));
}

TEST(SessionTextTest, FindsTextByTheBytesOfItsTokens) {
  const auto model = load(spec_of("llama"), exact_options());
  Session session(model);
  session.append("The code is 4471. The door is red. The code is 4471.");
  const std::vector<Found> all = session.find("The code is 4471.");
  ASSERT_EQ(all.size(), 2U);
  for (const Found& f : all) {
    EXPECT_NE(f.text.find("The code is 4471."), std::string::npos);
    EXPECT_EQ(f.widened, f.text != "The code is 4471.");
  }
  EXPECT_EQ(code_of([&] { session.find_one("The code"); }), ErrorCode::ambiguous);
  EXPECT_EQ(session.find_one("The code", 2).tokens.begin, all[1].tokens.begin);
  EXPECT_EQ(code_of([&] { session.find_one("The code", 3); }), ErrorCode::not_found);
  const Found door = session.find_one("The door is red. ");
  session.erase(door.tokens, {.method = "shift"});
  EXPECT_EQ(session.text(), "The code is 4471. The code is 4471.");
}

TEST(SessionTextTest, AStopStringEndsTheTextBeforeIt) {
  const auto model = load(spec_of("llama"), exact_options());
  Session session(model);
  session.append("abcabc");
  Session plain = session.fork();
  const std::string all = plain.generate({.max_tokens = 40, .temperature = 1, .seed = 3}).text;
  if (all.size() < 6) GTEST_SKIP() << "the random model stopped at once";
  const std::string stop = all.substr(3, 2);
  std::string streamed;
  GenerateOptions options{.max_tokens = 40, .temperature = 1, .seed = 3, .stop = {stop}};
  options.on_text = [&](std::string_view part) {
    streamed += part;
    return true;
  };
  const Generation made = session.generate(options);
  EXPECT_EQ(made.text, all.substr(0, all.find(stop)));
  EXPECT_EQ(streamed, made.text);
  EXPECT_EQ(made.stop, StopReason::stop_string);
}

}  // namespace
}  // namespace kvedit
