// Charts for reports, drawn by the program gnuplot: lines, bars, heat maps, each as SVG and PNG.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace kvedit::plot {

/// A value, and an interval around it where there is one.
struct Value {
  double at = 0;
  std::optional<double> low = {};
  std::optional<double> high = {};
};

struct Axis {
  std::string label;
  bool log = false;  // values of 0 and below are left out
  std::optional<double> low = {};
  std::optional<double> high = {};
};

/// Every x that occurs gets a tic while there are few of them.
struct Lines {
  struct Point {
    double x = 0;
    Value y;
  };
  struct Series {
    std::string name;
    std::vector<Point> points;
  };
  std::string title;
  Axis x, y;
  std::vector<Series> series;
};

struct Bars {
  struct Series {
    std::string name;
    std::vector<Value> values;  // [groups]
  };
  std::string title;
  std::vector<std::string> groups;
  Axis y;
  std::vector<Series> series;
};

/// Each cell is coloured from `low` to `high` and carries its value; NaN: an empty cell.
struct HeatMap {
  std::string title, x_label, y_label, value_label;
  std::vector<std::string> columns, rows;  // the first row is the uppermost
  std::vector<double> values;              // [row][column]
  double low = 0, high = 1;
};

/// Writes what gnuplot reads after `set terminal`. Texts are shown literally. Throws Error(invalid_argument)
/// when there is nothing to draw or the sizes do not match.
std::string script(const Lines& chart);
std::string script(const Bars& chart);
std::string script(const HeatMap& chart);

/// Draws a script to <base>.svg and <base>.png. Throws Error(not_found) naming the package when there is no
/// gnuplot, Error(io) with gnuplot's words when it fails.
void draw(const std::string& script, const std::string& base);

}  // namespace kvedit::plot
