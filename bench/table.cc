#include <array>

#include "bench/contest.h"

namespace kvedit::bench {
namespace {

constexpr std::array<int, 3> kLengths = {512, 2000, 8000};
constexpr int kErased = 64;

}  // namespace

int table_capacity(const TableWords& words) { return kLengths.back() + words.tokens; }

void table_rows(Contest& contest, const TableWords& words, const Emit& emit) {
  emit(decode_row(contest, 0, words.tokens));
  for (const int length : kLengths) {
    emit(prefill_row(contest, length));
    if (length >= 2000) emit(decode_row(contest, length, words.tokens));
  }
  for (const std::string& policy : words.policies) {
    emit(evict_row(contest, kLengths.back(), policy, words.keep, words.tokens));
  }
  emit(fork_row(contest, kLengths.back()));
  for (const Row& row : erase_rows(contest, {kLengths.back(), kErased, "0"}, words.methods)) emit(row);
}

}  // namespace kvedit::bench
