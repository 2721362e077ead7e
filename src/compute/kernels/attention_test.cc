#include "compute/kernels/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "cache/cache.h"
#include "compute/kernels/attention_testing.h"
#include "compute/kernels/instruction_sets_testing.h"

namespace kvedit {
namespace {

struct AttentionCase {
  int entries;
  int tokens;
  int group;
  int dim;
  int window;
  ElementType type;
  bool holes;  // lanes after eviction: positions with gaps, pages not full
};

std::ostream& operator<<(std::ostream& out, const AttentionCase& c) {
  return out << c.entries << " entries, " << c.tokens << " tokens, group " << c.group << ", dim " << c.dim
             << ", window " << c.window << (c.type == ElementType::f16 ? ", f16" : ", f32")
             << (c.holes ? ", with holes" : "");
}

class AttentionTest : public testing::TestWithParam<AttentionCase> {
 protected:
  AttentionTest()
      : cache_(PagePool::create({GetParam().dim, GetParam().dim, GetParam().type}), 1, 1,
               std::make_shared<const std::vector<Rope>>(1)) {
    const AttentionCase& c = GetParam();
    std::vector<Position> positions(c.entries);
    std::iota(positions.begin(), positions.end(), 0);
    cache_.append(positions);
    cache_.write(0, 0, positions, normal(c.entries * c.dim), normal(c.entries * c.dim));
    if (c.holes) {
      cache_.remove({c.entries / 3, c.entries / 3 + 70});
      cache_.remove({5, 9});
    }
    queries_ = normal(c.tokens * c.group * c.dim);
    for (float& q : queries_) q /= std::sqrt(static_cast<float>(c.dim));
    for (int t = 0; t < c.tokens; t++) at_.push_back(c.entries - c.tokens + t);
    task_.queries = queries_.data();
    task_.query_stride = task_.output_stride = static_cast<size_t>(c.group) * c.dim;
    task_.positions = at_;
    task_.group = c.group;
    task_.key_dim = task_.value_dim = c.dim;
    task_.type = c.type;
    task_.pages = reachable(cache_.lane(0, 0).pages(), at_.front(), at_.back(), c.window);
    task_.window = c.window;
    rows_ = c.tokens * c.group;
  }

  std::vector<float> normal(int n) {
    std::normal_distribution<float> gauss;
    std::vector<float> values(n);
    for (float& v : values) v = gauss(random_);
    return values;
  }

  std::vector<float> attended() {
    std::vector<float> output(queries_.size(), NAN);
    task_.output = output.data();
    attend(task_);
    return output;
  }
  std::vector<float> reference() {
    std::vector<float> output(queries_.size(), NAN);
    task_.output = output.data();
    attend_reference(task_);
    return output;
  }

  // Both sides sum the same f16 or f32 products in f32 and double: the difference is f32 rounding of
  // sums of up to 1,000 terms of size 1, some 1e-6.
  void expect_near(const std::vector<float>& a, const std::vector<float>& b, float tolerance = 2e-5F) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); i++) ASSERT_NEAR(a[i], b[i], tolerance) << "element " << i;
  }

  std::mt19937 random_{7};
  Cache cache_;
  std::vector<float> queries_;
  std::vector<Position> at_;
  AttentionTask task_;
  int rows_ = 0;
};

TEST_P(AttentionTest, AgreesWithTheDefinition) { expect_near(attended(), reference()); }

// Logits of some hundreds: weights from 1 down to nothing, and a logit of 300 is itself off by 1e-5.
TEST_P(AttentionTest, FewEntriesWinWhenLogitsAreLarge) {
  for (float& q : queries_) q *= 50;
  expect_near(attended(), reference(), 3e-4F);
}

TEST_P(AttentionTest, EveryInstructionSetAgreesWithTheDefinition) {
  const std::vector<float> exact = reference();
  on_every_instruction_set(attention_target, [&] { expect_near(attended(), exact); });
}

// Integers of 12 to 15 bits: queries, keys, weights and values are each off by some 2^-13 of the largest of
// their row, logits of size 1 by some 1e-3, outputs of size 1 by as much.
TEST_P(AttentionTest, IntegersAgreeWithTheDefinition) {
  const std::vector<float> exact = reference();
  task_.integers = true;
  on_every_instruction_set(attention_target, [&] {
    const std::vector<float> ours = attended();
    expect_near(ours, exact, 1e-3F);
    double squares = 0;
    for (size_t i = 0; i < ours.size(); i++) squares += std::pow(ours[i] - exact[i], 2);
    EXPECT_LT(std::sqrt(squares / static_cast<double>(ours.size())), 1e-4);
  });
}

TEST_P(AttentionTest, IntegersSeeWhatTheDefinitionSees) {
  for (float& q : queries_) q *= 50;
  task_.integers = true;
  expect_near(attended(), reference(), 0.1F);
}

TEST_P(AttentionTest, PartsMergeToTheWhole) {
  const std::vector<float> whole = attended();
  std::vector<float> merged(queries_.size());
  const int dim = task_.value_dim;
  const auto pages = task_.pages;
  const size_t cut = pages.size() / 2;
  std::vector<float> output(2 * queries_.size());
  std::vector<float> maxima(2 * rows_);
  std::vector<float> sums(2 * rows_);
  for (size_t part = 0; part < 2; part++) {
    task_.pages = part == 0 ? pages.first(cut) : pages.subspan(cut);
    task_.output = output.data() + part * queries_.size();
    task_.maxima = maxima.data() + part * rows_;
    task_.sums = sums.data() + part * rows_;
    task_.normalise = false;
    attend(task_);
  }
  for (int row = 0; row < rows_; row++) {
    const AttentionPart parts[] = {{output.data() + static_cast<size_t>(row) * dim, maxima[row], sums[row]},
                                   {output.data() + queries_.size() + static_cast<size_t>(row) * dim,
                                    maxima[rows_ + row], sums[rows_ + row]}};
    merge_parts(parts, dim, merged.data() + static_cast<size_t>(row) * dim);
  }
  expect_near(merged, whole);
}

TEST_P(AttentionTest, WeightsGiveTheOutputBack) {
  std::vector<float> output(queries_.size());
  std::vector<float> maxima(rows_);
  std::vector<float> sums(rows_);
  task_.output = output.data();
  task_.maxima = maxima.data();
  task_.sums = sums.data();
  attend(task_);
  int entries = 0;
  for (const PageRef& page : task_.pages) entries += page->count;
  const int skipped = [&] {
    int n = 0;
    for (const PageRef* page = cache_.lane(0, 0).pages().data(); page != task_.pages.data(); page++)
      n += (*page)->count;
    return n;
  }();
  std::vector<float> weights(static_cast<size_t>(rows_) * entries);
  attention_weights(task_, maxima.data(), sums.data(), weights.data(), entries);
  std::vector<float> values(static_cast<size_t>(entries) * task_.value_dim);
  cache_.lane(0, 0).read(skipped, skipped + entries, {}, values);
  std::vector<float> again(queries_.size());
  for (int row = 0; row < rows_; row++) {
    for (int e = 0; e < entries; e++) {
      for (int i = 0; i < task_.value_dim; i++) {
        again[static_cast<size_t>(row) * task_.value_dim + i] +=
            weights[static_cast<size_t>(row) * entries + e] *
            values[static_cast<size_t>(e) * task_.value_dim + i];
      }
    }
  }
  expect_near(again, output, 1e-4F);
  std::vector<float> mass(entries);
  attention_weights(task_, maxima.data(), sums.data(), mass.data(), 0);
  const double all = std::accumulate(mass.begin(), mass.end(), 0.0);
  EXPECT_NEAR(all, rows_, 1e-3 * rows_) << "each row's weights sum to 1";
}

TEST_P(AttentionTest, EntriesThatNoQuerySeesChangeNothing) {
  const std::vector<float> before = attended();
  const std::vector<Position> later = {GetParam().entries, GetParam().entries + 1};
  cache_.append(later);
  cache_.write(0, 0, later, std::vector<float>(2 * task_.key_dim, 100.0F),
               std::vector<float>(2 * task_.value_dim, 100.0F));
  task_.pages = cache_.lane(0, 0).pages();
  expect_near(attended(), before);
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest,
                         testing::Values(AttentionCase{1, 1, 1, 64, 0, ElementType::f16, false},
                                         AttentionCase{300, 1, 3, 64, 0, ElementType::f16, false},
                                         AttentionCase{300, 1, 7, 64, 0, ElementType::f16, true},
                                         AttentionCase{300, 5, 3, 64, 0, ElementType::f16, false},
                                         AttentionCase{300, 37, 3, 64, 0, ElementType::f16, true},
                                         AttentionCase{300, 37, 3, 64, 0, ElementType::f32, true},
                                         AttentionCase{700, 64, 4, 256, 0, ElementType::f16, false},
                                         AttentionCase{700, 1, 4, 256, 100, ElementType::f16, false},
                                         AttentionCase{700, 80, 1, 32, 100, ElementType::f16, false},
                                         AttentionCase{700, 80, 2, 48, 64, ElementType::f32, true},
                                         AttentionCase{200, 200, 2, 16, 0, ElementType::f32, false},
                                         AttentionCase{200, 200, 2, 80, 17, ElementType::f16, false},
                                         // Heads that are no multiple of a vector: a register tile of 16
                                         // columns, of several vectors or of one, leaves some over.
                                         AttentionCase{200, 1, 1, 100, 0, ElementType::f16, false},
                                         AttentionCase{200, 1, 4, 20, 0, ElementType::f32, false},
                                         AttentionCase{200, 5, 1, 24, 0, ElementType::f16, true},
                                         AttentionCase{200, 37, 2, 100, 0, ElementType::f32, false},
                                         AttentionCase{300, 80, 2, 100, 33, ElementType::f16, true},
                                         AttentionCase{200, 70, 1, 120, 0, ElementType::f16, false},
                                         AttentionCase{200, 64, 2, 8, 0, ElementType::f16, false}));

}  // namespace
}  // namespace kvedit
