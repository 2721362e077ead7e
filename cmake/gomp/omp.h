// The part of OpenMP's interface that kvedit uses, for clang without its own OpenMP: gcc's header,
// which comes with the library that oneDNN is linked to, is not one that clang can read.
#pragma once

extern "C" {
int omp_get_max_threads() noexcept;
void omp_set_num_threads(int threads) noexcept;
}
