#include "tools/process.h"

#include <gtest/gtest.h>

#include "kvedit/error.h"

namespace kvedit {
namespace {

TEST(ProcessTest, WordsReachTheProgramAsTheyAre) {
  const Finished finished = run_program({"printf", "%s|", "$HOME `id`", "two\nlines", ""});
  EXPECT_EQ(finished.exit_code, 0);
  EXPECT_EQ(finished.output, "$HOME `id`|two\nlines||");
}

TEST(ProcessTest, MuchInputAndOutputDoNotBlockEachOther) {
  const std::string much(1 << 20, 'x');
  EXPECT_EQ(run_program({"cat"}, much).output, much);
}

TEST(ProcessTest, ExitCodeAndErrorsAreTold) {
  const Finished finished = run_program({"sh", "-c", "echo broken >&2; exit 3"}, "", true);
  EXPECT_EQ(finished.exit_code, 3);
  EXPECT_EQ(finished.errors, "broken\n");
  EXPECT_EQ(run_program({"sh", "-c", "kill -9 $$"}).exit_code, 137);
}

TEST(ProcessTest, MissingProgramIsNotFound) {
  try {
    run_program({"kvedit-no-such-program"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
  }
}

}  // namespace
}  // namespace kvedit
