#include "eval/task.h"

#include "base/check.h"
#include "session/model_impl.h"

namespace kvedit::eval {

std::vector<const Task*> tasks() { return {&text_task(), &niah_noise_task(), &niah_keys_task()}; }

const Task& find_task(std::string_view name) {
  std::string known;
  for (const Task* task : tasks()) {
    if (task->info().name == name) return *task;
    known += (known.empty() ? "" : ", ") + task->info().name;
  }
  fail(ErrorCode::not_found, "eval", "no task '", name, "'; there are ", known);
}

std::vector<Token> tokens_from_start(const Model& model, std::string_view text) {
  return dynamic_cast<const ModelImpl&>(model).tokenizer().encode(text, false, true);
}

}  // namespace kvedit::eval
