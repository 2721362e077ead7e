#include "eval/results.h"

#include <filesystem>

#include "base/check.h"

namespace kvedit::eval {
namespace {

std::tuple<int, int, std::string, std::string> key_of(int length, int example, const Cell& cell) {
  return {length, example, cell.policy, cell.keep};
}

}  // namespace

Results::Results(std::string path, const Json& setting, std::vector<std::string> metrics, bool resume)
    : path_(std::move(path)), metrics_(std::move(metrics)) {
  std::ifstream earlier(path_, std::ios::binary);
  std::string line;
  uintmax_t whole = 0;  // bytes of finished lines
  for (int number = 1; std::getline(earlier, line) && !earlier.eof(); number++) {
    if (!resume) {
      fail(ErrorCode::invalid_argument, "eval", path_,
           " has results of an earlier run: resume it, or choose another folder");
    }
    try {
      if (number == 1) {
        check_setting(line, setting);
      } else {
        Result result = parse(line);
        results_.insert_or_assign(key_of(result.length, result.example, result.cell), std::move(result));
      }
    } catch (const nlohmann::json::exception& error) {
      fail(ErrorCode::corrupt, "eval", path_, ":", number, ": no result: ", error.what());
    }
    whole += line.size() + 1;
  }
  earlier.close();
  std::error_code error;
  if (std::filesystem::exists(path_, error)) std::filesystem::resize_file(path_, whole, error);
  if (error) fail(ErrorCode::io, "eval", "cannot write ", path_, ": ", error.message());
  file_.open(path_, std::ios::binary | std::ios::app);
  if (whole == 0) write(setting);
}

void Results::check_setting(const std::string& line, const Json& setting) const {
  const Json earlier = Json::parse(line);
  for (const auto& [name, value] : setting.items()) {
    if (earlier.at(name) != value) {
      fail(ErrorCode::invalid_argument, "eval", path_, " has results of ", name, " ", earlier.at(name).dump(),
           ", not ", value.dump());
    }
  }
}

Result Results::parse(const std::string& line) const {
  const Json json = Json::parse(line);
  Result r;
  json.at("length").get_to(r.length);
  json.at("example").get_to(r.example);
  json.at("policy").get_to(r.cell.policy);
  json.at("keep").get_to(r.cell.keep);
  json.at("prompt").get_to(r.prompt);
  json.at("expected").get_to(r.expected);
  json.at("answer").get_to(r.answer);
  for (const std::string& metric : metrics_) r.scores.push_back(json.at("scores").at(metric).get<double>());
  json.at("ms").get_to(r.ms);
  json.at("bytes").get_to(r.bytes);
  json.at("resolved").get_to(r.policy);
  return r;
}

Json Results::to_json(const Result& r) const {
  Json scores = Json::object();
  for (size_t i = 0; i < metrics_.size(); i++) scores[metrics_[i]] = r.scores[i];
  return {{"length", r.length}, {"example", r.example},   {"policy", r.cell.policy}, {"keep", r.cell.keep},
          {"prompt", r.prompt}, {"expected", r.expected}, {"answer", r.answer},      {"scores", scores},
          {"ms", r.ms},         {"bytes", r.bytes},       {"resolved", r.policy}};
}

bool Results::have(int length, int example, const Cell& cell) const {
  return results_.contains(key_of(length, example, cell));
}

void Results::add(const Result& result) {
  write(to_json(result));
  results_.insert_or_assign(key_of(result.length, result.example, result.cell), result);
}

const Result& Results::get(int length, int example, const Cell& cell) const {
  const auto found = results_.find(key_of(length, example, cell));
  if (found == results_.end()) {
    fail(ErrorCode::not_found, "eval", path_, " has no result of ", cell.policy, " at ", cell.keep,
         ", length ", length, ", example ", example);
  }
  return found->second;
}

void Results::write(const Json& line) {
  // A cut token may be half a character.
  file_ << line.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
  if (!file_) fail(ErrorCode::io, "eval", "cannot write ", path_);
}

}  // namespace kvedit::eval
