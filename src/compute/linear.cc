#include "compute/linear.h"

#include <algorithm>
#include <optional>

#include "compute/kernels/dot.h"
#include "compute/kernels/int8_gemm.h"
#include "ggml-cpu.h"
#include "ggml.h"

namespace kvedit {
namespace {

constexpr int kDotTokens = 8;     // up to here dot products beat dequantising (measured)
constexpr int kSomeTokens = 128;  // up to here integers beat dequantising for bf16
constexpr int kPanelRows = 64;    // oneDNN is as fast on 64 rows as on all (measured)

// Whose kernel: ours, or none for ggml's.
std::optional<DotType> dot_type(const ggml_tensor* w) {
  if (!dot_takes(w->ne[0])) return std::nullopt;
  switch (w->type) {
    case GGML_TYPE_Q4_0:
      return DotType::q4_0;
    case GGML_TYPE_Q4_1:
      return DotType::q4_1;
    case GGML_TYPE_Q5_0:
      return DotType::q5_0;
    case GGML_TYPE_Q8_0:
      return DotType::q8_0;
    default:
      return std::nullopt;
  }
}

// Whether there is an integer kernel for many tokens, and which.
std::optional<Int8Format> int8_format(const ggml_tensor* w) {
  switch (w->type) {
    case GGML_TYPE_Q4_0:
      return Int8Format::q4_0;
    case GGML_TYPE_Q4_1:
      return Int8Format::q4_1;
    case GGML_TYPE_Q5_0:
      return Int8Format::q5_0;
    case GGML_TYPE_Q8_0:
      return Int8Format::q8_0;
    case GGML_TYPE_Q4_K:
      return Int8Format::q4_k;
    case GGML_TYPE_Q5_K:
      return Int8Format::q5_k;
    case GGML_TYPE_Q6_K:
      return Int8Format::q6_k;
    default:
      return std::nullopt;
  }
}

// x in the type that ggml's dot product wants.
void quantise_for_ggml(const ggml_tensor* x, ggml_type type, std::byte* to) {
  const size_t row_bytes = ggml_row_size(type, x->ne[0]);
  for (int64_t t = 0; t < x->ne[1]; t++) {
    const auto* row = reinterpret_cast<const float*>(static_cast<const char*>(x->data) + t * x->nb[1]);
    ggml_get_type_traits_cpu(type)->from_float(row, to + t * row_bytes, x->ne[0]);
  }
}

// What few_op works in: the input for our kernels, and for ggml's.
struct FewScratch {
  FewScratch(Room& room, int64_t tokens, int64_t in)
      : ours(room, tokens, in), theirs(room.take<std::byte>(tokens * ggml_row_size(GGML_TYPE_F32, in))) {}
  DotInput ours;
  std::byte* theirs;  // no type of a row is larger than f32
};

// A panel as the dense product wants it.
struct PanelScratch {
  PanelScratch(Room& room, int64_t in)
      : wide(room.take<float>(kPanelRows * in)), narrow(room.take<ggml_bf16_t>(kPanelRows * in)) {}
  float* wide;
  ggml_bf16_t* narrow;
};

// Rows [row, row + rows) of a weight in the type of the product; `w` itself where it has that type.
const void* dequantise(const Linear::Op::Panel& panel, bool bf16, const PanelScratch& to) {
  const ggml_tensor* w = panel.weight;
  const int64_t in = w->ne[0];
  const char* rows = static_cast<const char*>(w->data) + panel.row * w->nb[1];
  if (w->type == (bf16 ? GGML_TYPE_BF16 : GGML_TYPE_F32)) return rows;
  const auto* traits = ggml_get_type_traits(w->type);
  for (int r = 0; r < panel.rows; r++) {
    float* row = to.wide + r * in;
    const void* source = rows + r * w->nb[1];
    if (w->type == GGML_TYPE_F32) {
      row = const_cast<float*>(static_cast<const float*>(source));
    } else {
      traits->to_float(source, row, in);
    }
    if (bf16) ggml_cpu_fp32_to_bf16(row, to.narrow + r * in, in);
  }
  return bf16 ? static_cast<const void*>(to.narrow) : to.wide;
}

// x [in, tokens] f32 -> rows of int8_quantise().
void int8_input_op(ggml_tensor* to, int ith, int nth, void* /*userdata*/) {
  const ggml_tensor* x = to->src[0];
  for (int64_t t = x->ne[1] * ith / nth; t < x->ne[1] * (ith + 1) / nth; t++) {
    int8_quantise(reinterpret_cast<const float*>(static_cast<const char*>(x->data) + t * x->nb[1]), x->ne[0],
                  static_cast<std::byte*>(to->data) + t * to->nb[1]);
  }
}

// Y[tokens][panel.out..] of a panel whose input is `x`.
bool multiply(const ggml_tensor* x, const Linear::Op::Panel& panel, ggml_tensor* y, Room room) {
  float* to = static_cast<float*>(y->data) + panel.out;
  const ggml_tensor* w = panel.weight;
  if (panel.gemm) {
    const PanelScratch scratch(room, w->ne[0]);
    const void* rows = dequantise(panel, x->type == GGML_TYPE_BF16, scratch);
    return panel.gemm->run(x->data, rows, to, Room(room.take<std::byte>(panel.gemm->scratch_bytes())));
  }
  int8_gemm(*int8_format(w), static_cast<const char*>(w->data) + panel.row * w->nb[1], w->nb[1], panel.rows,
            w->ne[0], static_cast<const std::byte*>(x->data), x->nb[1], x->ne[1], to, y->ne[0], room);
  return true;
}

}  // namespace

// The concatenated rows of all weights are split evenly over the threads.
void few_op(ggml_tensor* y, int ith, int nth, void* userdata) {
  const ggml_tensor* x = y->src[0];
  const int64_t in = x->ne[0];
  const int64_t tokens = x->ne[1];
  Room room = static_cast<Linear::Op*>(userdata)->linear->scratch_.of(ith);
  FewScratch input(room, tokens, in);
  bool have_ours = false;             // it is in input.ours
  auto theirs_for = GGML_TYPE_COUNT;  // the type of input.theirs
  const int64_t begin = y->ne[0] * ith / nth;
  const int64_t end = y->ne[0] * (ith + 1) / nth;
  int64_t out = 0;  // the first column of this weight's rows
  for (int s = 1; s < GGML_MAX_SRC && y->src[s]; out += y->src[s++]->ne[1]) {
    const ggml_tensor* w = y->src[s];
    const int64_t first = std::max<int64_t>(begin - out, 0);
    const int64_t last = std::min<int64_t>(end - out, w->ne[1]);
    if (first >= last) continue;  // another thread's
    const char* rows = static_cast<const char*>(w->data);
    float* to = static_cast<float*>(y->data) + out;
    const ggml_type_traits_cpu* traits = ggml_get_type_traits_cpu(w->type);
    if (const auto type = dot_type(w)) {
      if (!have_ours) input.ours.quantise(static_cast<const float*>(x->data), x->nb[1] / sizeof(float));
      have_ours = true;
      dot_rows(*type, rows + first * w->nb[1], w->nb[1], last - first, input.ours, to + first, y->ne[0]);
    } else {
      const ggml_type partner = traits->vec_dot_type;
      if (theirs_for != partner) quantise_for_ggml(x, partner, input.theirs);
      theirs_for = partner;
      const size_t row_bytes = ggml_row_size(partner, in);
      for (int64_t r = first; r < last; r++) {
        for (int64_t t = 0; t < tokens; t++) {
          traits->vec_dot(static_cast<int>(in), to + t * y->ne[0] + r, 0, rows + r * w->nb[1], 0,
                          input.theirs + t * row_bytes, 0, 1);
        }
      }
    }
  }
}

void dense_op(ggml_tensor* y, int ith, int /*nth*/, void* userdata) {
  auto& op = *static_cast<Linear::Op*>(userdata);
  for (;;) {
    const auto index = static_cast<size_t>(op.next.fetch_add(1, std::memory_order_relaxed));
    if (index >= op.panels.size()) return;
    const Room room = op.linear->scratch_.of(ith);
    if (!multiply(y->src[0], op.panels[index], y, room)) op.linear->failed_ = true;
  }
}

LinearKernel resolve(LinearKernel kernel) {
  if (kernel != LinearKernel::automatic) return kernel;
  if (gemm_has_native(GemmType::bf16)) return LinearKernel::bf16;
  return gemm_has_native(GemmType::f32) ? LinearKernel::int8_dense : LinearKernel::ggml;
}

std::vector<ggml_tensor*> Linear::project(ggml_context* ctx, ggml_tensor* x,
                                          std::span<ggml_tensor* const> weights) {
  std::vector<ggml_tensor*> results;
  const int64_t tokens = x->ne[1];
  const bool few = tokens <= kDotTokens && kernel_ != LinearKernel::f32;
  if (kernel_ == LinearKernel::ggml && !few) {
    for (ggml_tensor* w : weights) results.push_back(ggml_mul_mat(ctx, w, x));
    return results;
  }
  const bool some = kernel_ == LinearKernel::bf16 && tokens <= kSomeTokens;
  const bool int8 = (kernel_ == LinearKernel::int8_dense || some) && !few &&
                    std::all_of(weights.begin(), weights.end(), [](auto* w) { return int8_format(w); });
  const bool bf16 = kernel_ == LinearKernel::bf16 && !few && !int8;
  ggml_tensor* input = x;
  if (bf16) input = ggml_cast(ctx, x, GGML_TYPE_BF16);
  if (int8) {
    input = ggml_custom_4d(ctx, GGML_TYPE_I8, static_cast<int64_t>(int8_row_bytes(x->ne[0])), tokens, 1, 1,
                           &x, 1, int8_input_op, GGML_N_TASKS_MAX, nullptr);
  }
  std::vector<ggml_tensor*> sources = {input};
  int64_t outs = 0;
  for (ggml_tensor* w : weights) {
    sources.push_back(w);
    outs += w->ne[1];
  }
  Op& op = ops_.emplace_back();
  op.linear = this;
  ggml_tensor* y =
      ggml_custom_4d(ctx, GGML_TYPE_F32, outs, tokens, 1, 1, sources.data(), static_cast<int>(sources.size()),
                     few ? few_op : dense_op, GGML_N_TASKS_MAX, &op);
  if (few) {
    Room room;
    const FewScratch counted(room, tokens, x->ne[0]);
    scratch_bytes_ = std::max(scratch_bytes_, room.bytes());
  }
  const auto type = int8 ? std::nullopt : std::optional(bf16 ? GemmType::bf16 : GemmType::f32);
  int out = 0;
  for (ggml_tensor* w : weights) {
    if (!few) add_panels(op, w, type, y, out);
    results.push_back(
        weights.size() == 1 ? y : ggml_view_2d(ctx, y, w->ne[1], tokens, y->nb[1], out * sizeof(float)));
    out += static_cast<int>(w->ne[1]);
  }
  return results;
}

void Linear::add_panels(Op& op, const ggml_tensor* w, std::optional<GemmType> type, const ggml_tensor* y,
                        int out) {
  const int in = static_cast<int>(w->ne[0]);
  const int rows = static_cast<int>(w->ne[1]);
  std::shared_ptr<const Gemm> gemm;
  for (int row = 0; row < rows; row += kPanelRows) {
    const int count = std::min(kPanelRows, rows - row);
    if (type && (row == 0 || count < kPanelRows)) {
      gemm = Gemm::get(*type, static_cast<int>(y->ne[1]), count, in, static_cast<int>(y->ne[0]));
    }
    Room room;
    if (gemm) {
      const PanelScratch counted(room, in);
      room.take<std::byte>(gemm->scratch_bytes());
    }
    const size_t bytes = gemm ? room.bytes() : int8_scratch_bytes(*int8_format(w), in);
    scratch_bytes_ = std::max(scratch_bytes_, bytes);
    op.panels.push_back({w, row, count, out + row, gemm});
  }
}

void Linear::reset() {
  for (Op& op : ops_) op.next.store(0, std::memory_order_relaxed);
  failed_ = false;
}

}  // namespace kvedit
