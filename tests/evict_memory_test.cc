// What evicting takes beside the cache, counted by this program's operator new: at most 2 % of the cache (or
// what a pass captures, where a short context's is more: that does not grow with the context) and the scratch
// of one lane. Pages are counted by the pool; graph buffers are those that reading the text had.
#include "allocations.h"
#include "evict/policy.h"
#include "session_testing.h"

namespace kvedit {
namespace {

constexpr int kMemoryTokens = 3000;
constexpr size_t kScratch = 512 * 1024;  // of a lane, a page and parts of the projection
constexpr size_t kForLife = 1 << 20;     // oneDNN's primitives, over all policies; no Grams, no scores

// What a pass captures whatever the context's length.
size_t captured(const CaptureRequest& needs, const TinySpec& spec) {
  const size_t heads = static_cast<size_t>(spec.layers) * spec.heads;
  const size_t dim = spec.key_dim;
  const size_t queries = needs.window_queries * heads * dim * sizeof(float);
  const size_t statistics = heads * (triangle(dim) * sizeof(float) + dim * sizeof(double));
  return std::max(queries, needs.query_statistics ? statistics : 0);
}

// Every policy, and combinations in which several scorers or combinators meet.
std::vector<std::string> all_texts(const Model& model) {
  std::vector<std::string> texts = policy_texts(model);
  for (const char* text :
       {"mix(laprox;laprox-joint)", "mix(snapkv+adaptive;h2o+global)", "critical(laprox-joint+global)",
        "critical(squeeze(snapkv+adaptive))", "squeeze(mix(laprox;keydiff+global))",
        "mix(critical(snapkv+uniform);squeeze(random+uniform))", "squeeze(h2o+uniform)"}) {
    texts.emplace_back(text);
  }
  return texts;
}

TEST(EvictMemoryTest, APolicyNeedsLittleBesideTheCache) {
  if (!allocations::kCounted) GTEST_SKIP() << "sanitizers count for themselves";
  using allocations::live, allocations::most;
  TinySpec spec;
  spec.layers = 16;
  spec.heads = 8;
  spec.kv_heads = 4;
  spec.key_dim = 64;
  spec.context = 2 * kMemoryTokens;
  ModelOptions options;
  options.threads = 1;
  const auto model = load(spec, options);
  const std::string shorter = temporary_path("short.kvs"), longer = temporary_path("long.kvs");
  filled(model, 300).save(shorter);
  filled(model, kMemoryTokens).save(longer);
  const size_t lanes = static_cast<size_t>(spec.layers) * spec.kv_heads;
  const size_t at_first = live;
  for (const std::string& text : all_texts(*model)) {
    SCOPED_TRACE(text);
    Session::load(model, shorter).evict(text, Budget::fraction(0.6));  // makes its primitives
    Session session = Session::load(model, longer);
    const size_t cache = session.stats().bytes;
    reset_high_water(*model);
    const size_t pages = model->pool().bytes_in_use;
    const size_t before = live;
    most = before;
    session.evict(text, Budget::fraction(0.5));
    const size_t taken = most - before;
    std::printf("%-55s %.2f %%\n", text.c_str(),
                100.0 * static_cast<double>(taken) / static_cast<double>(cache));
    EXPECT_LE(taken, std::max(cache / 50, captured(make_policy(text).needs(), spec)) + kScratch);
    EXPECT_LE(model->pool().high_water_bytes, pages + lanes * model->pool().page_bytes)
        << "the pending token";
  }
  EXPECT_LE(live - at_first, kForLife);
}

}  // namespace
}  // namespace kvedit
