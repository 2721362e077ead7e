#include "compute/kernels/gemm.h"

#include <omp.h>

#include <algorithm>
#include <dnnl.hpp>
#include <list>
#include <mutex>
#include <tuple>
#include <utility>

#include "tools/text.h"

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

std::shared_ptr<const Gemm> Gemm::get(GemmType type, int m, int n, int k, int y_stride) {
  using Shape = std::tuple<GemmType, int, int, int, int>;
  static std::mutex mutex;
  static std::list<std::pair<Shape, std::shared_ptr<const Gemm>>> kept;  // the last one used first
  const Shape shape(type, m, n, k, y_stride);
  const std::scoped_lock lock(mutex);
  const auto found =
      std::find_if(kept.begin(), kept.end(), [&](const auto& entry) { return entry.first == shape; });
  if (found != kept.end()) {
    kept.splice(kept.begin(), kept, found);
  } else {
    kept.emplace_front(shape, std::make_shared<const Gemm>(type, m, n, k, y_stride));
    if (kept.size() > kKept) kept.pop_back();
  }
  return kept.front().second;
}

Gemm::Gemm(GemmType type, int m, int n, int k, int y_stride) try : primitive_(std::make_unique<Primitive>()) {
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
} catch (const dnnl::error& error) {
  fail(error.status == dnnl_out_of_memory ? ErrorCode::no_memory : ErrorCode::unsupported, "compute",
       "oneDNN makes no product of [", m, ", ", k, "] and [", k, ", ", n, "]: ", error.what());
}

Gemm::~Gemm() = default;

size_t Gemm::scratch_bytes() const { return primitive_->scratch.get_size(); }

bool Gemm::run(const void* x, const void* w, float* y, Room scratch) const noexcept {
  try {
    const OneThread alone;
    thread_local dnnl::stream stream(cpu_engine());
    const auto memory = [](const dnnl::memory::desc& desc, const void* data) {
      return dnnl::memory(desc, cpu_engine(), const_cast<void*>(data));
    };
    primitive_->matmul.execute(
        stream, {{DNNL_ARG_SRC, memory(primitive_->x, x)},
                 {DNNL_ARG_WEIGHTS, memory(primitive_->w, w)},
                 {DNNL_ARG_DST, memory(primitive_->y, y)},
                 {DNNL_ARG_SCRATCHPAD, memory(primitive_->scratch, scratch.take<std::byte>(0))}});
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
