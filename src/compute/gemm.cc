#include "compute/gemm.h"

#include <omp.h>

#include <dnnl.hpp>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

namespace kvedit {
namespace {

const dnnl::engine& cpu_engine() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// oneDNN asks OpenMP for its team's size when a primitive is made and when it runs. Our threads
// share the work themselves, so each runs its part alone; the caller's setting is put back.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

}  // namespace

struct Gemm::Primitive {
  dnnl::memory::desc x, w, y, scratch;
  dnnl::matmul matmul;
};

const Gemm& Gemm::get(GemmType type, int m, int n, int k, int y_stride) {
  static std::mutex mutex;
  static std::map<std::tuple<GemmType, int, int, int, int>, std::unique_ptr<Gemm>> made;
  std::scoped_lock lock(mutex);
  auto& gemm = made[{type, m, n, k, y_stride}];
  if (!gemm) gemm = std::make_unique<Gemm>(type, m, n, k, y_stride);
  return *gemm;
}

Gemm::Gemm(GemmType type, int m, int n, int k, int y_stride) : primitive_(std::make_unique<Primitive>()) {
  using dnnl::memory;
  const OneThread alone;
  const auto element = type == GemmType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  Primitive& p = *primitive_;
  p.x = memory::desc({m, k}, element, memory::format_tag::ab);
  p.w = memory::desc({k, n}, element, memory::format_tag::ba);
  p.y = memory::desc({m, n}, memory::data_type::f32, memory::dims{y_stride, 1});
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(p.x, p.w, p.y), attributes, cpu_engine());
  p.scratch = description.scratchpad_desc();
  p.matmul = dnnl::matmul(description);
}

Gemm::~Gemm() = default;

bool Gemm::run(const void* x, const void* w, float* y) const noexcept {
  try {
    const OneThread alone;
    thread_local dnnl::stream stream(cpu_engine());
    thread_local std::vector<std::byte> scratch;
    if (scratch.size() < primitive_->scratch.get_size()) scratch.resize(primitive_->scratch.get_size());
    const auto memory = [](const dnnl::memory::desc& desc, const void* data) {
      return dnnl::memory(desc, cpu_engine(), const_cast<void*>(data));
    };
    primitive_->matmul.execute(stream, {{DNNL_ARG_SRC, memory(primitive_->x, x)},
                                        {DNNL_ARG_WEIGHTS, memory(primitive_->w, w)},
                                        {DNNL_ARG_DST, memory(primitive_->y, y)},
                                        {DNNL_ARG_SCRATCHPAD, memory(primitive_->scratch, scratch.data())}});
    stream.wait();
    return true;
  } catch (...) {  // a ggml callback must not throw
    return false;
  }
}

bool gemm_has_native(GemmType type) {
  const auto isa = dnnl::get_effective_cpu_isa();
  switch (isa) {
    case dnnl::cpu_isa::avx512_core_bf16:
    case dnnl::cpu_isa::avx512_core_amx:
      return true;
    case dnnl::cpu_isa::avx2:
    case dnnl::cpu_isa::avx2_vnni:
    case dnnl::cpu_isa::avx512_core:
    case dnnl::cpu_isa::avx512_core_vnni:
      return type == GemmType::f32;
    default:
      return false;
  }
}

bool gemm_uses_amx() { return dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx512_core_amx; }

}  // namespace kvedit
