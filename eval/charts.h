// A report as charts: SVG and PNG files.
#pragma once

#include <string>

#include "eval/report.h"

namespace kvedit::eval {

/// Draws <folder>/<metric>-<length>.{svg,png} for each metric: bars of the cells by kind of question, with
/// intervals. Where policies were given several budgets, <metric>-<length>-by-keep has lines over the share
/// kept. A task with depths gets a heat map of its first metric for each cell, depths-<cell>, over lengths
/// and depths. Throws what plot::draw does.
void draw_charts(const Report& report, const std::string& folder);

}  // namespace kvedit::eval
