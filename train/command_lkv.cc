#include "train/commands.h"
#include "train/lkv.h"

namespace kvedit::train {

void add_lkv(CLI::App& app) {
  add_training(app, "lkv", "LKV: budgets and scores for `kvedit evict --policy lkv`", train_lkv);
}

}  // namespace kvedit::train
