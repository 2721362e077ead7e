#include "bench/report.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "tools/text.h"

namespace kvedit::bench {
namespace {

constexpr int kErased = 64;
constexpr const char* kDepth = "10%";
// The fields that all rows of a report share.
constexpr std::array<const char*, 7> kCommon = {"model",      "weights", "kernels", "peer_version",
                                                "peer_build", "amx",     "machine"};

}  // namespace

int report_capacity(const ReportWork& work) {
  return *std::max_element(work.lengths.begin(), work.lengths.end()) + work.tokens;
}

std::vector<Job> report_jobs(const ReportWork& work) {
  const auto one = [](const auto& row, auto... arguments) {
    return [=](Comparison& comparison) { return std::vector<Row>{row(comparison, arguments...)}; };
  };
  std::vector<Job> jobs = {{"decode/0", one(decode_row, 0, work.tokens)}};
  for (const int length : work.lengths) {
    jobs.push_back({cat("prefill/", length), one(prefill_row, length)});
    jobs.push_back({cat("decode/", length), one(decode_row, length, work.tokens)});
    jobs.push_back({cat("fork/", length), one(fork_row, length)});
    jobs.push_back({cat("snapshot/", length), [=](Comparison& c) { return snapshot_rows(c, length); }});
    const EraseWork erase{length, std::min(kErased, length / 8), kDepth};
    jobs.push_back({cat("erase/", length),
                    [=, methods = work.methods](Comparison& c) { return erase_rows(c, erase, methods); }});
    for (const std::string& policy : work.policies) {
      jobs.push_back({cat("evict/", length, "/", policy, "@", work.keep),
                      one(evict_row, length, policy, work.keep, work.tokens)});
    }
  }
  return jobs;
}

ReportRows::ReportRows(const std::string& folder, const Setting& setting, bool resume)
    : path_(folder + "/report.jsonl") {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(ErrorCode::io, "bench", "cannot make ", folder, ": ", error.message());
  const Json common = to_json(Row{}, setting);
  std::ifstream file(path_, std::ios::binary);
  std::string line;
  for (int number = 1; std::getline(file, line); number++) {
    if (!resume)
      fail(ErrorCode::invalid_argument, "bench", path_, " has rows: resume it, or choose another folder");
    Json row = Json::parse(line, nullptr, false);
    if (!row.is_object() || !row.contains("job") || !row["job"].is_string())
      fail(ErrorCode::corrupt, "bench", path_, ":", number, ": no row");
    for (const char* key : kCommon) {
      if (!row.contains("error") && row.value(key, Json()) != common[key]) {
        fail(ErrorCode::invalid_argument, "bench", path_, ":", number, " is of ", key, " ",
             row.value(key, Json()).dump(), ", not ", common[key].dump());
      }
    }
    rows_.push_back(std::move(row));
  }
}

bool ReportRows::done(const std::string& job) const {
  const auto of_job = [&](const Json& row) { return row["job"] == job; };
  return std::any_of(rows_.begin(), rows_.end(), of_job) &&
         std::none_of(rows_.begin(), rows_.end(),
                      [&](const Json& row) { return of_job(row) && row.contains("error"); });
}

void ReportRows::put(const std::string& job, std::vector<Json> rows) {
  const auto gone =
      std::stable_partition(rows_.begin(), rows_.end(), [&](const Json& r) { return r["job"] != job; });
  rows_.erase(gone, rows_.end());
  for (Json& row : rows) {
    row["job"] = job;
    rows_.push_back(std::move(row));
  }
  write();
}

size_t ReportRows::failures() const {
  return std::count_if(rows_.begin(), rows_.end(), [](const Json& row) { return row.contains("error"); });
}

void ReportRows::write() const {
  const std::string partial = path_ + ".partial";
  std::ofstream file(partial, std::ios::binary);
  for (const Json& row : rows_) file << row.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(partial, path_, error);
  if (!file || error) fail(ErrorCode::io, "bench", "cannot write ", path_);
}

void run_jobs(Comparison& comparison, const std::vector<Job>& jobs, const Setting& setting,
              ReportRows& report, const std::function<void(const Row&)>& emit,
              const std::function<void(const std::string& job, const Error&)>& failed) {
  for (const Job& job : jobs) {
    if (report.done(job.name)) continue;
    try {
      std::vector<Json> made;
      for (const Row& row : job.run(comparison)) {
        emit(row);
        made.push_back(to_json(row, setting));
      }
      report.put(job.name, std::move(made));
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled) throw;
      failed(job.name, error);
      report.put(job.name, {{{"error", {{"code", to_string(error.code())}, {"message", error.what()}}}}});
    }
  }
}

}  // namespace kvedit::bench
