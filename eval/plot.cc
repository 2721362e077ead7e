#include "eval/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <sstream>

#include "tools/process.h"
#include "tools/text.h"
#include "tools/write_file.h"

namespace kvedit::plot {
namespace {

// Okabe and Ito's colours, which everyone can tell apart; then again, with another dash and mark.
constexpr std::array<const char*, 8> kColours = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                                 "#56B4E9", "#E69F00", "#000000", "#8B6F47"};
constexpr std::array<int, 4> kMarks = {7, 5, 9, 13};  // filled: circle, square, triangle, diamond
constexpr size_t kMostTics = 10;
constexpr double kMargin = 0.05;  // share of the x axis beside the outermost values
constexpr const char* kStyle =
    "set border 3 linecolor rgb '#888888'\n"
    "set tics nomirror textcolor rgb '#333333'\n"
    "set grid ytics linetype 1 linecolor rgb '#e4e4e4'\n"
    "set key outside right top Left reverse samplen 2 noenhanced\n"
    "set datafile missing 'NaN'\n"
    "set decimalsign '.'\n";

// In single quotes gnuplot replaces nothing and knows one escape, two quotes.
std::string quoted(const std::string& text) {
  std::string result = "'";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') {
      result += ' ';
    } else {
      result += c == '\'' ? std::string("''") : std::string(1, c);
    }
  }
  return result + "'";
}

// Quotes the label of a tic, where % begins a number's format.
std::string tic(const std::string& text) {
  std::string result;
  for (const char c : quoted(text)) result += c == '%' ? std::string("%%") : std::string(1, c);
  return result;
}

void check(bool good, const std::string& title, const char* what) {
  if (!good) fail(ErrorCode::invalid_argument, "plot", "'", title, "': ", what);
}

std::string number(double value) {
  if (!std::isfinite(value)) return "NaN";
  std::ostringstream text;
  text.precision(8);
  text << value;
  return text.str();
}

std::string line(const Value& v) {
  return cat(number(v.at), " ", number(v.low.value_or(v.at)), " ", number(v.high.value_or(v.at)));
}

std::string to_script(char name, const Axis& a) {
  const auto bound = [](std::optional<double> b) { return b ? number(*b) : std::string("*"); };
  std::string text = cat("set ", name, "label ", quoted(a.label), " noenhanced\n");
  if (a.log) text += cat("set logscale ", name, "\n");
  if (a.low || a.high) text += cat("set ", name, "range [", bound(a.low), ":", bound(a.high), "]\n");
  return text;
}

std::string head(const std::string& title) {
  return cat(kStyle, "set title ", quoted(title), " noenhanced\n");
}

std::string grouped(double value) {
  if (value != std::floor(value) || std::abs(value) >= 1e15) return number(value);
  std::string digits = std::to_string(static_cast<long long>(value));
  const int first = digits.starts_with('-') ? 1 : 0;
  for (int i = static_cast<int>(digits.size()) - 3; i > first; i -= 3) digits.insert(i, 1, ',');
  return digits;
}

// Every x that occurs. The axis ends a little outside, not at the next round number.
std::string x_axis(const Lines& chart) {
  std::set<double> all;
  for (const auto& series : chart.series) {
    for (const auto& point : series.points) {
      if (point.x > 0 || !chart.x.log) all.insert(point.x);
    }
  }
  check(!all.empty(), chart.title, "nothing to draw");
  const double low = *all.begin(), high = *all.rbegin();
  const double share = chart.x.log ? std::pow(high / low, kMargin) : (high - low) * kMargin;
  const bool one = low == high;
  Axis axis = chart.x;
  if (!axis.low) axis.low = one ? low / 2 : chart.x.log ? low / share : low - share;
  if (!axis.high) axis.high = one ? high * 2 : chart.x.log ? high * share : high + share;
  std::string text = to_script('x', axis);
  if (all.size() > kMostTics) return text;
  const std::string list = join(all, [](double x) { return cat(tic(grouped(x)), " ", number(x)); });
  return text + cat("set xtics (", list, ")\n");
}

// Names of cells at 0, 1, 2, ...
std::string tics_of(const std::vector<std::string>& names) {
  return join(names, [i = 0](const std::string& name) mutable { return cat(tic(name), " ", i++); });
}

}  // namespace

std::string script(const Lines& chart) {
  std::string data, plots;
  for (size_t i = 0; i < chart.series.size(); i++) {
    const auto& series = chart.series[i];
    if (series.points.empty()) continue;
    data += cat("$s", i, " << END\n");
    for (const auto& point : series.points) data += cat(number(point.x), " ", line(point.y), "\n");
    data += "END\n";
    const std::string style =
        cat(" linecolor rgb '", kColours.at(i % kColours.size()), "' dashtype ", 1 + i / kColours.size(),
            " linewidth 2 pointtype ", kMarks.at(i / kColours.size() % kMarks.size()), " pointsize 0.8");
    plots += cat(plots.empty() ? "plot " : ", ", "$s", i, " using 1:2:3:4 with yerrorlines", style, " title ",
                 quoted(series.name));
  }
  return cat(head(chart.title), x_axis(chart), to_script('y', chart.y), "set errorbars small\n", data, plots,
             "\n");
}

std::string script(const Bars& chart) {
  check(!chart.groups.empty() && !chart.series.empty(), chart.title, "nothing to draw");
  std::string data, plots;
  for (size_t i = 0; i < chart.series.size(); i++) {
    const auto& series = chart.series[i];
    check(series.values.size() == chart.groups.size(), chart.title, "a value for each group is needed");
    data += cat("$s", i, " << END\n");
    for (const Value& value : series.values) data += line(value) + "\n";
    data += "END\n";
    plots += cat(i == 0 ? "plot " : ", ", "$s", i, " using 1:2:3 linecolor rgb '",
                 kColours.at(i % kColours.size()), "' title ", quoted(series.name));
  }
  const bool crowded = chart.groups.size() * (1 + chart.series.size()) > 20;
  return cat(
      head(chart.title), to_script('y', chart.y), "set xtics (", tics_of(chart.groups),
      ") scale 0 noenhanced", crowded ? " rotate by -40" : "", "\n",
      chart.series.size() == 1 ? "unset key\n" : "",
      "set style data histograms\nset style histogram errorbars gap 1 linewidth 1\n"
      "set style fill solid 0.85 noborder\nset boxwidth 0.95\nset errorbars small linecolor rgb '#444444'\n",
      data, plots, "\n");
}

std::string script(const HeatMap& chart) {
  const size_t columns = chart.columns.size(), rows = chart.rows.size();
  check(columns > 0 && rows > 0, chart.title, "nothing to draw");
  check(chart.values.size() == columns * rows, chart.title, "a value for each cell is needed");
  std::string data = "$cells << END\n";
  for (size_t i = 0; i < chart.values.size(); i++)
    data += cat(i % columns, " ", i / columns, " ", number(chart.values[i]), "\n");
  data += "END\n";
  const bool fits = columns <= 16 && rows <= 20;
  const std::string low = number(chart.low), high = number(chart.high);
  return cat(head(chart.title), "unset key\nset xlabel ", quoted(chart.x_label), " noenhanced\nset ylabel ",
             quoted(chart.y_label), " noenhanced\nset cblabel ", quoted(chart.value_label),
             " noenhanced\nset xtics (", tics_of(chart.columns), ") scale 0 noenhanced\nset ytics (",
             tics_of(chart.rows), ") scale 0 noenhanced\nunset grid\nset xrange [-0.5:", columns,
             "-0.5]\nset yrange [", rows, "-0.5:-0.5]\nset cbrange [", low, ":", high,
             "]\nset palette defined (0 '#b2182b', 0.25 '#f4a582', 0.5 '#f7f7f7', 0.75 '#92c5de', 1 "
             "'#2166ac')\n",
             // White on the dark ends, black between.
             "ink(v) = (v - ", low, ") / (", high, " - ", low, ") > 0.85 || (v - ", low, ") / (", high, " - ",
             low, ") < 0.1 ? 0xffffff : 0x222222\n", data,
             "set style fill solid 1 border rgb '#ffffff'\n"
             "plot $cells using 1:2:(0.5):(0.5):3 with boxxyerror linecolor palette",
             fits ? ", $cells using 1:2:(sprintf('%.3g', $3)):(ink($3)) with labels textcolor rgb variable\n"
                  : "\n");
}

void draw(const std::string& script, const std::string& base) {
  const std::array<std::array<const char*, 2>, 2> terminals = {{
      {"svg", "svg noenhanced size 800,450 font 'sans-serif,13' background '#ffffff'"},
      {"png", "pngcairo noenhanced size 1200,675 font 'sans-serif,15' fontscale 0.9"},
  }};
  for (const auto& [suffix, terminal] : terminals) {
    Finished finished;
    try {
      finished = run_program({"gnuplot", "-d", "-"}, cat("set terminal ", terminal, "\n", script), true);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;
      fail(ErrorCode::not_found, "plot", "no charts without gnuplot: install the package gnuplot-nox");
    }
    if (finished.exit_code != 0 || finished.output.empty())
      fail(ErrorCode::io, "plot", "gnuplot could not draw ", base, ".", suffix, ": ", finished.errors);
    write_file("plot", cat(base, ".", suffix), finished.output);
  }
}

}  // namespace kvedit::plot
