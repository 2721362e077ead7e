// Engines that sessions take for the time of a call.
#include <gtest/gtest.h>

#include <barrier>
#include <thread>

#include "session/model_impl.h"
#include "session_testing.h"

namespace kvedit {
namespace {

TEST(LeaseTest, EnginesGoWhenTheSessionsThatNeededThemHaveDone) {
  constexpr int kSessions = 5;
  const auto model = load(spec_of("llama"), exact_options());
  const auto& impl = *implementation(*model);
  std::barrier all(kSessions);
  std::atomic<size_t> most = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kSessions; i++) {
      threads.emplace_back([&, i] {
        Session session(model);
        session.append_tokens(random_tokens(20, i), [&](size_t, size_t) {
          all.arrive_and_wait();
          most = impl.engines();
          all.arrive_and_wait();
          return true;
        });
      });
    }
  }
  EXPECT_EQ(most, static_cast<size_t>(kSessions));
  EXPECT_EQ(impl.engines(), 1U);
  Session session = filled(model, 50);
  EXPECT_EQ(impl.engines(), 1U);
}

}  // namespace
}  // namespace kvedit
