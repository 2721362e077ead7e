#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "cache/cache_testing.h"
#include "evict/parts.h"
#include "evict/policy.h"

namespace kvedit {
namespace {

TEST(PoliciesTest, NamesResolveAllParameters) {
  EXPECT_EQ(make_policy("snapkv").name, "snapkv:window=32,kernel=7,pool=avg,sinks=4,recent=32");
  EXPECT_EQ(make_policy("ada-snapkv:kernel=5,pool=max").name,
            "ada-snapkv:window=32,kernel=5,pool=max,alpha=0.2,sinks=4,recent=32");
  EXPECT_EQ(make_policy("snapkv+adaptive:pool=1,alpha=0").name,
            "snapkv+adaptive:window=32,kernel=7,pool=max,alpha=0,sinks=4,recent=32");
  EXPECT_EQ(make_policy("streaming-llm").name, "streaming-llm:sinks=4,recent=0");
  EXPECT_EQ(make_policy("random:sinks=0").name, "random:sinks=0,recent=32");
}

TEST(PoliciesTest, EveryCombinationIsMadeAndItsNameMakesItAgain) {
  std::set<std::string> texts;
  for (const PolicyInfo& info : policies()) texts.insert({info.name, info.definition});
  for (const ScorerPart& scorer : scorer_parts()) {
    for (const AllocatorPart& allocator : allocator_parts()) texts.insert(scorer.name + "+" + allocator.name);
  }
  for (const std::string& text : texts) {
    const Policy policy = make_policy(text);
    EXPECT_TRUE(policy.selector) << text;
    EXPECT_EQ(make_policy(policy.name).name, policy.name);
  }
}

TEST(PoliciesTest, RecentCoversTheWindow) {
  const Policy policy = make_policy("snapkv:window=64,recent=8");
  EXPECT_EQ(policy.recent, 64);
  EXPECT_EQ(policy.scorer->needs().window_queries, 64);
  EXPECT_EQ(make_policy("snapkv:window=64,recent=100").recent, 100);
}

TEST(PoliciesTest, UnknownNamesListTheKnown) {
  for (const char* text :
       {"", "snap", "snapkv+", "+uniform", "snapkv+total", "ada-snapkv+uniform", "a+b+c", ":"}) {
    const auto [code, message] = error_of([&] { make_policy(text); });
    EXPECT_EQ(code, ErrorCode::not_found) << text;
    EXPECT_NE(message.find("ada-snapkv"), std::string::npos) << message;
    EXPECT_NE(message.find("adaptive"), std::string::npos) << message;
    EXPECT_NE(message.find("squeeze"), std::string::npos) << message;
  }
}

TEST(PoliciesTest, ParametersAreChecked) {
  const auto refuses = [](const char* text, ErrorCode code, const char* part) {
    const auto [got, message] = error_of([&] { make_policy(text); });
    EXPECT_EQ(got, code) << text;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  refuses("snapkv:width=3", ErrorCode::invalid_argument,
          "\"width\"; known: window, kernel, pool, sinks, recent");
  refuses("snapkv:alpha=0.1", ErrorCode::invalid_argument, "alpha");
  refuses("snapkv:", ErrorCode::invalid_argument, "key=value");
  refuses("snapkv:window", ErrorCode::invalid_argument, "window");
  refuses("snapkv:window=", ErrorCode::invalid_argument, "window");
  refuses("snapkv:window=3,", ErrorCode::invalid_argument, "key=value");
  refuses("snapkv:window=3x", ErrorCode::invalid_argument, "3x");
  refuses("snapkv:window=1.5", ErrorCode::invalid_argument, "1.5");
  refuses("snapkv:window=nan", ErrorCode::invalid_argument, "nan");
  refuses("snapkv:window=3,window=4", ErrorCode::invalid_argument, "twice");
  refuses("snapkv:window=0", ErrorCode::out_of_range, "1..512");
  refuses("snapkv:window=513", ErrorCode::out_of_range, "1..512");
  refuses("snapkv:kernel=257", ErrorCode::out_of_range, "1..255");
  refuses("snapkv:kernel=4", ErrorCode::invalid_argument, "even");
  refuses("snapkv:kernel=0", ErrorCode::out_of_range, "kernel");
  refuses("snapkv:pool=sum", ErrorCode::invalid_argument, "avg, max");
  refuses("snapkv:sinks=-1", ErrorCode::out_of_range, "sinks");
  refuses("ada-snapkv:alpha=1.1", ErrorCode::out_of_range, "0..1");
}

TEST(PoliciesTest, CombinatorsStandInParentheses) {
  EXPECT_EQ(make_policy("critical(snapkv+adaptive):first=0.25,window=8").name,
            "critical(snapkv+adaptive):window=8,kernel=7,pool=avg,alpha=0.2,first=0.25,epsilon=1e-04,sinks=4,"
            "recent=32");
  EXPECT_EQ(
      make_policy("critical-ada-snapkv").name,
      "critical-ada-snapkv:window=32,kernel=7,pool=avg,alpha=0.2,first=0.5,epsilon=1e-04,sinks=4,recent=32");
  EXPECT_NE(make_policy("critical-expected-attention:a.epsilon=0.5")
                .name.find("a.epsilon=0.5,first=0.5,epsilon=1e-04,"),
            std::string::npos);
  EXPECT_EQ(make_policy("mix(random;streaming-llm)").name,
            "mix(random;streaming-llm):share=0.5,sinks=4,recent=32");
  EXPECT_EQ(
      make_policy("mix(critical(snapkv:window=64);random):first=0,share=0.25").name,
      "mix(critical(snapkv);random):window=64,kernel=7,pool=avg,first=0,epsilon=1e-04,share=0.25,sinks=4,"
      "recent=64");
}

TEST(PoliciesTest, ParametersOfBothSidesOfAMixAreToldApart) {
  const Policy policy = make_policy("mix(snapkv:window=8;laprox+uniform):b.window=16,a.kernel=3,norm=l1");
  EXPECT_EQ(policy.name,
            "mix(snapkv;laprox+uniform):a.window=8,a.kernel=3,a.pool=avg,b.window=16,b.kernel=7,b.pool=avg,"
            "norm=l1,normalise=layer_sum,share=0.5,sinks=4,recent=32");
  EXPECT_EQ(policy.needs().window_queries, 16);
  const auto [code, message] = error_of([] { make_policy("mix(snapkv;laprox+uniform):window=8"); });
  EXPECT_EQ(code, ErrorCode::invalid_argument);
  EXPECT_NE(message.find("a.window"), std::string::npos) << message;
}

TEST(PoliciesTest, ParenthesesAreChecked) {
  const auto refuses = [](const std::string& text, ErrorCode code, const char* part) {
    const auto [got, message] = error_of([&] { make_policy(text); });
    EXPECT_EQ(got, code) << text << ": " << message;
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  refuses("mix(random;snapkv", ErrorCode::invalid_argument, "do not match");
  refuses("mix(random;snapkv))", ErrorCode::invalid_argument, "do not match");
  refuses("mix)(", ErrorCode::invalid_argument, "do not match");
  refuses("mix(random)", ErrorCode::invalid_argument, "takes 2");
  refuses("critical(random;random)", ErrorCode::invalid_argument, "takes 1");
  refuses("mix()", ErrorCode::not_found, "critical");
  refuses("mix(;)", ErrorCode::not_found, "critical");
  refuses("mix(random;snapkv)x", ErrorCode::not_found, "critical");
  refuses("blend(random;snapkv)", ErrorCode::not_found, "blend");
  refuses("critical(snapkv:window=0)", ErrorCode::out_of_range, "1..512");
  refuses("critical(snapkv:sinks=3)", ErrorCode::invalid_argument, "sinks");
  std::string deep = "random";
  for (int i = 0; i < 100; i++) deep = "squeeze(" + deep + ")";
  refuses(deep, ErrorCode::out_of_range, "8");
}

// A mix of mixes costs a pass over the context for each scorer, and clients may choose it.
TEST(PoliciesTest, APolicyIsOfBoundedSize) {
  std::string eight = "h2o";
  for (int i = 0; i < 3; i++) eight = "mix(" + eight + ";" + eight + ")";
  EXPECT_EQ(make_policy(eight).selector->scorers(), 8);
  const auto [code, message] = error_of([&] { make_policy("mix(kvedit;" + eight + ")"); });
  EXPECT_EQ(code, ErrorCode::out_of_range);
  EXPECT_NE(message.find("10 scorers; at most 8"), std::string::npos) << message;
  EXPECT_EQ(error_of([&] { make_policy("lkv:file=" + std::string(20000, 'x')); }).first,
            ErrorCode::out_of_range);
}

TEST(PoliciesTest, TextParametersTakeWhatStandsThere) {
  EXPECT_EQ(make_policy("lkv").name, "lkv:file=,sinks=4,recent=32");
  EXPECT_EQ(error_of([] { make_policy("lkv:file=no/such file:(1)"); }).first, ErrorCode::not_found);
}

TEST(PoliciesTest, PartsAndPoliciesHaveTheirOwnNames) {
  std::set<std::string> of_parts;
  for (const PolicyPart& part : policy_parts()) {
    EXPECT_TRUE(of_parts.insert(part.name).second) << part.name;
    EXPECT_FALSE(part.description.empty()) << part.name;
    EXPECT_EQ(part.policies > 0, part.kind == PolicyPart::Kind::combinator) << part.name;
  }
  std::set<std::string> names;
  for (const PolicyInfo& info : policies()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name;
    std::set<std::string> parameters;
    for (const Parameter& p : info.parameters) {
      EXPECT_TRUE(parameters.insert(p.name).second) << info.name << " " << p.name;
    }
  }
}

}  // namespace
}  // namespace kvedit
