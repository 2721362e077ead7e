#include "eval/plot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "kvedit/error.h"

namespace kvedit::plot {
namespace {

// gnuplot would run what stands in backquotes or after "system", were it not plain text to it.
const std::string kNasty = "it's `touch plotted` \"x\"; system('touch plotted') {/Bold_2} \\ \n<b>&é 5%d";

Lines lines() {
  Lines chart{"Decode " + kNasty};
  chart.x.label = "tokens";
  chart.x.log = true;
  chart.y.low = 0;
  chart.series = {{"a", {{512, {300, 280, 310}}, {2000, {200}}, {8000, {90, 80, 95}}}},
                  {kNasty, {{512, {100}}, {2000, {std::nan("")}}, {8000, {20}}}},
                  {"empty", {}}};
  return chart;
}

Bars bars() {
  Bars chart{kNasty, {"x", kNasty}};
  chart.series = {{"a", {{1, 0.5, 2}, {2}}}, {"b", {{3}, {4, 3, 5}}}};
  return chart;
}

HeatMap heat_map() {
  return {kNasty, "length", "depth", "found", {"1", kNasty}, {"0 %", "50 %"}, {0, 1, 0.5, std::nan("")}};
}

class PlotTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string read(const std::string& name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) /
      ("plot_test_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
};

TEST_F(PlotTest, ChartsBecomeSvgAndPngWithTheirTextsAsTheyAre) {
  const std::string base = (folder_ / "chart").string();
  std::filesystem::remove("plotted");
  for (const std::string& each : {script(lines()), script(bars()), script(heat_map())}) {
    try {
      draw(each, base);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::not_found) GTEST_SKIP() << error.what();
      throw;
    }
    EXPECT_TRUE(read("chart.png").starts_with("\x89PNG"));
    const std::string svg = read("chart.svg");
    EXPECT_TRUE(svg.find("</svg>") != std::string::npos);
    EXPECT_TRUE(svg.find("`touch plotted`") != std::string::npos);
    EXPECT_TRUE(svg.find("{/Bold_2} \\  &lt;b>&amp;é 5%d") != std::string::npos);
  }
  EXPECT_FALSE(std::filesystem::exists("plotted"));
}

TEST_F(PlotTest, WhatCannotBeDrawnIsRefused) {
  Lines empty = lines();
  empty.series.erase(empty.series.begin(), empty.series.begin() + 2);
  EXPECT_THROW(script(empty), Error);
  Bars uneven = bars();
  uneven.series[0].values.pop_back();
  EXPECT_THROW(script(uneven), Error);
  HeatMap short_of_one = heat_map();
  short_of_one.values.pop_back();
  EXPECT_THROW(script(short_of_one), Error);
}

TEST_F(PlotTest, WordsOfGnuplotReachTheError) {
  try {
    draw("plot nonsense\n", (folder_ / "chart").string());
    FAIL();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::not_found) GTEST_SKIP() << error.what();
    EXPECT_NE(std::string(error.what()).find("nonsense"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "chart.svg"));
}

}  // namespace
}  // namespace kvedit::plot
