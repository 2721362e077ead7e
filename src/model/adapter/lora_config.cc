#include "model/adapter/lora_config.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

#include "model/adapter/lora.h"
#include "tools/text.h"

namespace kvedit {
namespace {

using Json = nlohmann::ordered_json;  // the order of patterns counts

constexpr size_t kMaxBytes = 256 << 10;
constexpr int kMaxDepth = 8;
constexpr size_t kMaxPatterns = 1024;

// Read below, or without influence on what a trained adapter computes. Every other key must be empty, so that
// a setting that is not known is no surprise.
constexpr std::string_view kKnown[] = {"peft_type",           "r",
                                       "lora_alpha",          "use_rslora",
                                       "target_modules",      "rank_pattern",
                                       "alpha_pattern",       "bias",
                                       "init_lora_weights",   "kvedit_states",
                                       "auto_mapping",        "base_model_name_or_path",
                                       "corda_config",        "ensure_weight_tying",
                                       "eva_config",          "exclude_modules",
                                       "inference_mode",      "layers_pattern",
                                       "layers_to_transform", "loftq_config",
                                       "lora_dropout",        "lora_ga_config",
                                       "megatron_config",     "megatron_core",
                                       "parent_library",      "peft_version",
                                       "qalora_group_size",   "revision",
                                       "runtime_config",      "task_type"};

class Reader {
 public:
  Reader(std::string_view text, const std::string& path) : path_(path) {
    if (text.size() > kMaxBytes) bad(cat("has ", text.size(), " bytes, at most ", kMaxBytes, " are read"));
    const auto shallow = [this](int depth, Json::parse_event_t, Json&) {
      if (depth > kMaxDepth) bad(cat("is nested deeper than ", kMaxDepth));
      return true;
    };
    try {
      json_ = Json::parse(text, shallow);
    } catch (const Json::exception& error) {
      bad(cat("is no JSON: ", error.what()));
    }
    if (!json_.is_object()) bad("is no JSON object");
  }

  [[noreturn]] void bad(const std::string& what) const {
    fail(ErrorCode::corrupt, "model", "\"", path_, "\" ", what);
  }
  [[noreturn]] void refuse(const std::string& key) const {
    fail(ErrorCode::unsupported, "model", "\"", path_, "\": ", key, " is ", short_text(at(key)),
         ", which is not supported");
  }

  const Json& at(const std::string& key) const {
    static const Json kNull;
    const auto found = json_.find(key);
    return found == json_.end() ? kNull : *found;
  }
  int whole(const std::string& key, const Json& value, int low, int high) const {
    if (!value.is_number_integer() || value < low || value > high) {
      bad(cat(key, " is ", short_text(value), ", possible are ", low, " to ", high));
    }
    return value.get<int>();
  }
  int rank(const std::string& key, const Json& value) const { return whole(key, value, 1, kMaxRank); }
  int states(const std::string& key) const {
    return at(key).is_null() ? 0 : whole(key, at(key), 0, kMaxSteeringStates);
  }
  double number(const std::string& key, const Json& value) const {
    if (!value.is_number()) bad(cat(key, " is ", short_text(value), ", not a number"));
    return value.get<double>();
  }
  bool flag(const char* key) const {
    if (at(key).is_null()) return false;
    if (!at(key).is_boolean()) bad(cat(key, " is ", short_text(at(key)), ", not true or false"));
    return at(key).get<bool>();
  }
  std::optional<std::vector<std::string>> targets() const {
    const Json& value = at("target_modules");
    if (value.is_string()) return std::nullopt;
    const auto is_text = [](const Json& item) { return item.is_string(); };
    if (!value.is_array() || !std::all_of(value.begin(), value.end(), is_text)) {
      bad(cat("target_modules is ", short_text(value), ", not a text or a list of texts"));
    }
    return value.get<std::vector<std::string>>();
  }
  template <typename Value>
  std::vector<std::pair<LoraPattern, Value>> patterns(const char* key,
                                                      Value (Reader::*read)(const std::string&, const Json&)
                                                          const) const {
    const Json& value = at(key);
    if (value.is_null()) return {};
    if (!value.is_object()) bad(cat(key, " is ", short_text(value), ", not an object"));
    if (value.size() > kMaxPatterns) {
      bad(cat(key, " has ", value.size(), " patterns, at most ", kMaxPatterns, " are read"));
    }
    std::vector<std::pair<LoraPattern, Value>> patterns;
    for (const auto& item : value.items()) {
      patterns.emplace_back(LoraPattern(item.key()),
                            (this->*read)(cat(key, " of ", item.key()), item.value()));
    }
    return patterns;
  }

  void refuse_unsupported() const {
    if (at("peft_type") != "LORA") refuse("peft_type");
    if (!at("bias").is_null() && at("bias") != "none") refuse("bias");
    // Other initialisations (pissa, olora, loftq, corda) change the weights that the adapter stands on.
    const Json& start = at("init_lora_weights");
    if (start.is_string() && start != "gaussian" && start != "orthogonal" && start != "eva") {
      refuse("init_lora_weights");
    }
    for (const auto& item : json_.items()) {
      const bool known = std::find(std::begin(kKnown), std::end(kKnown), item.key()) != std::end(kKnown);
      const Json& value = item.value();
      const bool off = value.empty() || value == false || value == Json("");
      if (!known && !off) refuse(item.key());
    }
  }

 private:
  static std::string short_text(const Json& value) {
    std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > 80) text = text.substr(0, 80) + "...";
    return text;
  }

  const std::string& path_;
  Json json_;
};

template <typename Value>
Value first_match(const std::vector<std::pair<LoraPattern, Value>>& patterns, const std::string& module,
                  Value otherwise) {
  const auto found = std::find_if(patterns.begin(), patterns.end(),
                                  [&](const auto& pattern) { return pattern.first.matches(module); });
  return found == patterns.end() ? otherwise : found->second;
}

}  // namespace

bool LoraConfig::changes(const std::string& module) const {
  return !targets || std::any_of(targets->begin(), targets->end(), [&](const std::string& target) {
    return module == target || module.ends_with("." + target);
  });
}

int LoraConfig::rank_of(const std::string& module) const { return first_match(ranks, module, rank); }

double LoraConfig::alpha_of(const std::string& module) const { return first_match(alphas, module, alpha); }

double LoraConfig::scale_of(const std::string& module) const {
  const int r = rank_of(module);
  return alpha_of(module) / (rank_stabilised ? std::sqrt(r) : r);
}

LoraConfig parse_lora_config(std::string_view text, const std::string& path) {
  const Reader reader(text, path);
  reader.refuse_unsupported();
  return {.rank = reader.rank("r", reader.at("r")),
          .alpha = reader.number("lora_alpha", reader.at("lora_alpha")),
          .rank_stabilised = reader.flag("use_rslora"),
          .steering_states = reader.states("kvedit_states"),
          .targets = reader.targets(),
          .ranks = reader.patterns("rank_pattern", &Reader::rank),
          .alphas = reader.patterns("alpha_pattern", &Reader::number)};
}

}  // namespace kvedit
