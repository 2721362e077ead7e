#include "eval/report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "tools/text.h"

namespace kvedit::eval {
namespace {

/// By example; examples without such a question are left out.
using Values = std::map<int, double>;

bool belongs(const std::string& kind, const std::string& group) {
  return kind == group || (kind.starts_with(group) && kind[group.size()] == '/');
}

// "stale/unique": "stale", "stale/unique"
void add_groups(std::vector<std::string>& kinds, const std::string& kind) {
  for (size_t end = kind.find('/');; end = kind.find('/', end + 1)) {
    const std::string group = kind.substr(0, end);
    if (std::find(kinds.begin(), kinds.end(), group) == kinds.end()) {
      // Behind the last of its siblings, so that groups stay together.
      const size_t parent = group.rfind('/');
      auto place = kinds.end();
      if (parent != std::string::npos) {
        const std::string above = group.substr(0, parent);
        while (place != kinds.begin() && !belongs(*std::prev(place), above)) --place;
      }
      kinds.insert(place, group);
    }
    if (end == std::string::npos) return;
  }
}

class Table {
 public:
  Table(const TaskInfo& task, const Results& results, const Grid& grid)
      : task_(task), results_(results), grid_(grid) {}

  std::vector<std::string> kinds(int length) const {
    std::vector<std::string> kinds;
    for (int i = 0; i < grid_.examples; i++) {
      for (const QuestionResult& q : results_.get(length, i, grid_.cells.front()).questions)
        add_groups(kinds, q.kind);
    }
    return kinds;
  }

  Values values(int length, const std::string& kind, const Cell& cell, size_t metric) const {
    const bool logs = task_.metrics[metric].mean == Mean::geometric;
    Values values;
    for (int i = 0; i < grid_.examples; i++) {
      double sum = 0;
      int count = 0;
      for (const QuestionResult& q : results_.get(length, i, cell).questions) {
        const double score = q.scores[metric];
        if (!belongs(q.kind, kind) || std::isnan(score)) continue;
        sum += logs ? std::log(score) : score;
        count++;
      }
      if (count > 0) values[i] = logs ? std::exp(sum / count) : sum / count;
    }
    return values;
  }

  bool able(int length, const std::string& kind, const Cell& cell) const {
    const Cell exact = cell.erases() ? Cell{.method = "recompute"} : kFull;
    if (!in_grid(exact)) return true;
    const Values values = this->values(length, kind, exact, 0);
    double sum = 0;
    for (const auto& [example, value] : values) sum += value;
    return values.empty() || sum >= task_.able * static_cast<double>(values.size());
  }

  ReportRow row(int length, const std::string& kind, const Cell& cell,
                const std::vector<Cell>& references) const {
    const size_t metrics = task_.metrics.size();
    ReportRow row{length, kind, cell};
    row.able = able(length, kind, cell);
    row.scores.resize(metrics);
    row.tails.resize(metrics);
    row.difference.resize(metrics);
    row.quotient.resize(metrics);
    row.floor.resize(metrics);
    for (int i = 0; i < grid_.examples; i++)
      row.mebibytes += static_cast<double>(results_.get(length, i, cell).bytes) / 0x1p20 / grid_.examples;
    const auto reference = std::find_if(references.begin(), references.end(),
                                        [&](const Cell& r) { return r.erases() == cell.erases(); });
    const bool comparing = reference != references.end() && *reference != cell;
    for (size_t m = 0; m < metrics; m++) {
      const Mean mean = task_.metrics[m].mean;
      const std::vector<double> mine = list(values(length, kind, cell, m));
      row.examples = std::max(row.examples, static_cast<int>(mine.size()));
      if (mine.empty()) continue;
      row.scores[m] = interval(mine, mean);
      if (mean == Mean::arithmetic) row.tails[m] = tail(mine);
      if (comparing && (row.able || mean != Mean::share)) compare(row, m, mine, *reference);
    }
    return row;
  }

 private:
  bool in_grid(const Cell& cell) const {
    return std::find(grid_.cells.begin(), grid_.cells.end(), cell) != grid_.cells.end();
  }

  void compare(ReportRow& row, size_t m, const std::vector<double>& mine, const Cell& reference) const {
    const Mean mean = task_.metrics[m].mean;
    const std::vector<double> other = list(values(row.length, row.kind, reference, m));
    row.difference[m] = difference(mine, other, mean);
    if (mean != Mean::arithmetic) return;
    row.floor[m] = at_floor(row, m, reference, other);
    if (!row.floor[m]) row.quotient[m] = quotient(mine, other);
  }

  // Whether the reference's mean is one that rounding alone, of the exact method, can make.
  bool at_floor(const ReportRow& row, size_t m, const Cell& reference,
                const std::vector<double>& other) const {
    Cell exact = reference;
    exact.method = "recompute";
    exact.adapter.clear();
    if (!reference.erases() || reference == exact || !in_grid(exact)) return false;
    const double mean = std::accumulate(other.begin(), other.end(), 0.0) / static_cast<double>(other.size());
    return mean <= interval(list(values(row.length, row.kind, exact, m)), Mean::arithmetic).high;
  }

  static std::vector<double> list(const Values& values) {
    std::vector<double> list;
    for (const auto& [example, value] : values) list.push_back(value);
    return list;
  }

  const TaskInfo& task_;
  const Results& results_;
  const Grid& grid_;
};

Json interval_json(const Interval& i) { return {{"mean", i.mean}, {"low", i.low}, {"high", i.high}}; }

// {metric: of(its index)}, of those that have one.
template <typename Of>
Json by_metric(const std::vector<Metric>& metrics, const Of& of) {
  Json json = Json::object();
  for (size_t m = 0; m < metrics.size(); m++) {
    if (Json one = of(m); !one.is_null()) json[metrics[m].name] = std::move(one);
  }
  return json;
}

Json scores_json(const std::vector<Metric>& metrics, const ReportRow& row) {
  return by_metric(metrics, [&](size_t m) {
    if (!row.scores[m]) return Json();
    Json json = interval_json(*row.scores[m]);
    if (row.tails[m]) {
      json["median"] = row.tails[m]->median;
      json["most_of_95"] = row.tails[m]->most;
      json["worst"] = row.tails[m]->worst;
    }
    return json;
  });
}

Json difference_json(const std::vector<Metric>& metrics, const ReportRow& row) {
  return by_metric(metrics, [&](size_t m) {
    if (!row.difference[m]) return Json();
    Json json = interval_json(*row.difference[m]);
    json["p"] = row.difference[m]->p;
    json["claimed"] = significant(*row.difference[m]);
    return json;
  });
}

Json quotient_json(const std::vector<Metric>& metrics, const ReportRow& row) {
  return by_metric(metrics, [&](size_t m) {
    if (row.floor[m]) return Json("floor");
    return row.quotient[m] ? interval_json(*row.quotient[m]) : Json();
  });
}

}  // namespace

Report make_report(const TaskInfo& task, const Json& setting, const Results& results, const Grid& grid,
                   const std::vector<Cell>& references) {
  Report report{task, setting, references, {}};
  const Table table(task, results, grid);
  for (const int length : grid.lengths) {
    for (const std::string& kind : table.kinds(length)) {
      for (const Cell& cell : grid.cells) report.rows.push_back(table.row(length, kind, cell, references));
    }
  }
  return report;
}

Json to_json(const Report& report) {
  Json list = Json::array(), references = Json::array();
  for (const Cell& cell : report.references) references.push_back(cell.text());
  for (const ReportRow& row : report.rows) {
    list.push_back({{"length", row.length},
                    {"kind", row.kind},
                    {"cell", row.cell.text()},
                    {"policy", row.cell.policy},
                    {"keep", row.cell.keep},
                    {"method", row.cell.method},
                    {"adapter", row.cell.adapter},
                    {"examples", row.examples},
                    {"able", row.able},
                    {"scores", scores_json(report.task.metrics, row)},
                    {"difference", difference_json(report.task.metrics, row)},
                    {"quotient", quotient_json(report.task.metrics, row)},
                    {"mebibytes", row.mebibytes}});
  }
  return {{"task", report.task.name},  {"protocol", report.task.protocol}, {"notes", report.task.notes},
          {"setting", report.setting}, {"references", references},         {"rows", list}};
}

}  // namespace kvedit::eval
