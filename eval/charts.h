// A report as charts: SVG and PNG files.
#pragma once

#include <string>

#include "eval/report.h"

namespace kvedit::eval {

/// For each metric, <folder>/<metric>-<length>.{svg,png}: bars of the cells by kind of question, with
/// intervals; <metric>-<length>-by-keep: lines over what is kept, where policies were given several shares;
/// of a task with depths, <folder>/depths-<cell>: a heat map of its first metric over lengths and
/// depths, a cell each. Throws what plot::draw does.
void draw_charts(const Report& report, const std::string& folder);

}  // namespace kvedit::eval
