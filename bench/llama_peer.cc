#include "bench/llama_peer.h"

#include <ggml-cpu.h>
#include <llama.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "bench/measure.h"
#include "tools/text.h"

namespace kvedit::bench {
namespace {

constexpr int kBatch = 2048;
constexpr int kStep = 512;

thread_local std::string last_error;

// llama.cpp writes to stderr unless told otherwise. The first error names the cause; those after it only say
// who gave up.
void quiet_llama() {
  llama_log_set(
      [](ggml_log_level level, const char* text, void*) {
        if (level == GGML_LOG_LEVEL_ERROR && last_error.empty()) last_error = text;
      },
      nullptr);
}

std::string take_error() {
  std::string error = std::exchange(last_error, {});
  while (!error.empty() && error.back() == '\n') error.pop_back();
  return error;
}

struct Free {
  void operator()(llama_context* context) const { llama_free(context); }
  void operator()(ggml_threadpool* pool) const { ggml_threadpool_free(pool); }
};

}  // namespace

struct LlamaPeer::State {
  std::shared_ptr<llama_model> model;
  std::unique_ptr<ggml_threadpool, Free> workers;
  std::unique_ptr<llama_context, Free> context;
  llama_batch batch = llama_batch_init(kBatch, 0, 1);
  int vocabulary = 0;
  int window = 0;  // of the sliding layers, 0: none
  int prefix = 0;  // tokens of the text that the cache holds at its front

  State() = default;
  ~State() { llama_batch_free(batch); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  llama_memory_t memory() const { return llama_get_memory(context.get()); }
  void forward(std::span<const Token> tokens, int position, bool logits, const Progress& progress);
  bool cut(int tokens);
};

// `tokens` at `position` and on, in batches; logits: of the last one.
void LlamaPeer::State::forward(std::span<const Token> tokens, int position, bool logits,
                               const Progress& progress) {
  for (size_t begin = 0; begin < tokens.size(); begin += kBatch) {
    const size_t n = std::min<size_t>(kBatch, tokens.size() - begin);
    batch.n_tokens = static_cast<int32_t>(n);
    for (size_t i = 0; i < n; i++) {
      batch.token[i] = tokens[begin + i];
      batch.pos[i] = position + static_cast<int>(begin + i);
      batch.n_seq_id[i] = 1;
      batch.seq_id[i][0] = 0;
      batch.logits[i] = static_cast<int8_t>(logits && begin + i + 1 == tokens.size());
    }
    const int status = llama_decode(context.get(), batch);
    if (status != 0) {
      fail(ErrorCode::no_memory, "bench", "llama_decode gave ", status, " at position ", batch.pos[0], ": ",
           take_error());
    }
    if (progress && !progress(begin + n, tokens.size())) fail(ErrorCode::cancelled, "bench", "cancelled");
  }
  llama_synchronize(context.get());
}

// Back to the first `tokens` tokens. A window cache may have dropped what they need.
bool LlamaPeer::State::cut(int tokens) {
  if (!llama_memory_seq_rm(memory(), 0, tokens, -1)) return false;
  if (window == 0 || tokens == 0) return true;
  const llama_pos first = llama_memory_seq_pos_min(memory(), 0);  // -1: nothing is left
  return first >= 0 && first <= std::max(0, tokens - window);
}

std::vector<PeerSetting> peer_settings(int threads) {
  return {{.flash_attention = true, .threads = threads}, {.flash_attention = false, .threads = threads}};
}

std::shared_ptr<llama_model> LlamaPeer::load(const std::string& path) {
  quiet_llama();
  llama_model_params params = llama_model_default_params();
  params.load_mode = LLAMA_LOAD_MODE_MMAP;
  params.use_extra_bufts = true;
  std::shared_ptr<llama_model> model(llama_model_load_from_file(path.c_str(), params), llama_model_free);
  if (!model) fail(ErrorCode::corrupt, "bench", "llama.cpp cannot load ", path, ": ", take_error());
  return model;
}

LlamaPeer::LlamaPeer(std::shared_ptr<llama_model> model, std::vector<Token> text, const PeerSetting& setting,
                     int capacity, ProgressMaker progress)
    : LlamaPeer(std::move(model), std::move(text), setting, capacity, 1, std::move(progress)) {}

LlamaPeer::LlamaPeer(std::shared_ptr<llama_model> model, std::vector<Token> text, const PeerSetting& setting,
                     int capacity, int sequences, ProgressMaker progress)
    : Runtime(setting.flash_attention ? "llama.cpp, flash on" : "llama.cpp, flash off", std::move(text),
              std::move(progress)),
      setting_(setting),
      state_(std::make_unique<State>()) {
  state_->model = std::move(model);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(capacity);
  params.n_batch = kBatch;
  params.n_ubatch = kStep;
  params.n_seq_max = static_cast<uint32_t>(sequences);
  params.kv_unified = true;
  params.n_threads = params.n_threads_batch = setting.threads;
  params.flash_attn_type =
      setting.flash_attention ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.type_k = params.type_v = GGML_TYPE_F16;
  params.n_outputs_max = static_cast<uint32_t>(sequences);
  params.swa_full = false;
  state_->context.reset(llama_init_from_model(state_->model.get(), params));
  if (!state_->context) {
    fail(ErrorCode::no_memory, "bench", "llama.cpp cannot make a context of ", capacity, ": ", take_error());
  }
  ggml_threadpool_params pool = ggml_threadpool_params_default(setting.threads);
  pool.poll = static_cast<uint32_t>(setting.poll);
  state_->workers.reset(ggml_threadpool_new(&pool));
  llama_attach_threadpool(state_->context.get(), state_->workers.get(), state_->workers.get());
  state_->vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(state_->model.get()));
  state_->window = llama_model_n_swa(state_->model.get());
}

LlamaPeer::~LlamaPeer() {
  if (state_->context) llama_detach_threadpool(state_->context.get());
}

std::string LlamaPeer::version() { return std::string("llama.cpp ") + llama_version(); }

// llama.cpp says "CPU : AVX2 = 1 | AMX_INT8 = 0 | ".
std::string LlamaPeer::build() {
  std::istringstream words(llama_print_system_info());
  std::string text, before, equals;
  for (std::string word; words >> word; before = equals, equals = word) {
    if (word == "1" && equals == "=") text += (text.empty() ? "" : " ") + before;
  }
  return text;
}

std::unique_ptr<LlamaPeer> LlamaPeer::another(const PeerSetting& setting, int capacity, int sequences) const {
  return std::unique_ptr<LlamaPeer>(
      new LlamaPeer(state_->model, Runtime::text(), setting, capacity, sequences, {}));
}

PeerState LlamaPeer::copy() const {
  PeerState state{std::vector<uint8_t>(llama_state_seq_get_size(state_->context.get(), 0)), state_->prefix};
  const size_t size =
      llama_state_seq_get_data(state_->context.get(), state.bytes.data(), state.bytes.size(), 0);
  if (size != state.bytes.size())
    fail(ErrorCode::no_memory, "bench", "llama.cpp copied ", size, " of ", state.bytes.size(),
         " bytes of its cache");
  return state;
}

void LlamaPeer::restore(const PeerState& state) {
  llama_memory_clear(state_->memory(), false);
  state_->prefix = 0;
  if (llama_state_seq_set_data(state_->context.get(), state.bytes.data(), state.bytes.size(), 0) == 0)
    fail(ErrorCode::no_memory, "bench", "llama.cpp cannot restore its cache: ", take_error());
  state_->prefix = state.tokens;
}

void LlamaPeer::read_on(int tokens) {
  state_->forward(Runtime::text(state_->prefix, tokens), state_->prefix, false, progress("prefill"));
  state_->prefix = tokens;
}

void LlamaPeer::read(std::span<const Token> tokens, const Progress& progress) {
  llama_memory_clear(state_->memory(), false);
  state_->prefix = 0;
  state_->forward(tokens, 0, true, progress);
  state_->prefix = static_cast<int>(tokens.size());
}

bool LlamaPeer::go_back(int tokens) {
  if (state_->prefix < tokens) return false;
  const bool able = state_->cut(tokens);
  state_->prefix = able ? tokens : 0;
  return able;
}

Step LlamaPeer::step(Token token) {
  const int position = llama_memory_seq_pos_max(state_->memory(), 0) + 1;
  const Stopwatch timer;
  state_->forward({&token, 1}, position, true, {});
  const float* logits = llama_get_logits_ith(state_->context.get(), -1);
  const double ms = timer.ms();
  logits_.assign(logits, logits + state_->vocabulary);
  return {ms, most_likely(logits_)};
}

void LlamaPeer::save(const std::string& path) {
  const std::span<const Token> held = Runtime::text(0, state_->prefix);
  if (llama_state_seq_save_file(state_->context.get(), path.c_str(), 0, held.data(), held.size()) == 0)
    fail(ErrorCode::io, "bench", "llama.cpp cannot write ", path, ": ", take_error());
}

void LlamaPeer::load_state(const std::string& path) {
  std::vector<Token> tokens(Runtime::text().size());
  size_t count = 0;
  llama_memory_clear(state_->memory(), false);
  state_->prefix = 0;
  if (llama_state_seq_load_file(state_->context.get(), path.c_str(), 0, tokens.data(), tokens.size(),
                                &count) == 0)
    fail(ErrorCode::io, "bench", "llama.cpp cannot read ", path, ": ", take_error());
  state_->prefix = static_cast<int>(count);
}

PeerErased LlamaPeer::read_again(Span span, int length) {
  // A window cache holds the window and one step: only a span near the end leaves what stands before it.
  const bool kept = state_->window == 0 || span.begin >= length - kStep;
  if (kept) hold(span.begin);
  wait_until_idle();
  const Progress callback = progress("recompute");
  const Stopwatch timer;
  if (!kept) llama_memory_clear(state_->memory(), false);
  const std::span<const Token> before = Runtime::text(kept ? span.begin : 0, span.begin);
  const std::span<const Token> after = Runtime::text(span.end, length);
  std::vector<Token> again(before.begin(), before.end());
  again.insert(again.end(), after.begin(), after.end());
  state_->forward(again, kept ? span.begin : 0, true, callback);
  const float* logits = llama_get_logits_ith(state_->context.get(), -1);
  const double ms = timer.ms();
  logits_.assign(logits, logits + state_->vocabulary);
  state_->prefix = kept ? span.begin : 0;
  return {ms, ms, static_cast<int>(again.size()) - 1};
}

bool LlamaPeer::can_shift() const { return llama_memory_can_shift(state_->memory()); }

PeerErased LlamaPeer::remove(Span span, int length, bool shift) {
  if (state_->prefix != length - 1) {
    fail(ErrorCode::invalid_argument, "bench", "llama.cpp holds ", state_->prefix, " tokens, not ",
         length - 1);
  }
  wait_until_idle();
  const Stopwatch timer;
  if (!llama_memory_seq_rm(state_->memory(), 0, span.begin, span.end))
    fail(ErrorCode::unsupported, "bench", "llama.cpp cannot remove ", span.begin, "..", span.end);
  if (shift) llama_memory_seq_add(state_->memory(), 0, span.end, -1, -span.size());
  const double call_ms = timer.ms();
  state_->prefix = span.begin;
  return {call_ms + step(Runtime::text()[length - 1]).ms, call_ms, 0};
}

double LlamaPeer::decode_together(int sequences, int tokens) {
  const int begin = state_->prefix;
  for (int s = 1; s < sequences; s++) llama_memory_seq_cp(state_->memory(), 0, s, -1, -1);
  llama_batch& batch = state_->batch;
  batch.n_tokens = sequences;
  wait_until_idle();
  const Stopwatch timer;
  for (int i = 0; i < tokens; i++) {
    for (int s = 0; s < sequences; s++) {
      batch.token[s] = Runtime::text()[i];
      batch.pos[s] = begin + i;
      batch.n_seq_id[s] = 1;
      batch.seq_id[s][0] = s;
      batch.logits[s] = 1;
    }
    const int status = llama_decode(state_->context.get(), batch);
    if (status != 0) fail(ErrorCode::no_memory, "bench", "llama_decode gave ", status, ": ", take_error());
    for (int s = 0; s < sequences; s++) {
      const float* logits = llama_get_logits_ith(state_->context.get(), s);
      logits_.assign(logits, logits + state_->vocabulary);
      most_likely(logits_);
    }
  }
  const double ms = timer.ms();
  for (int s = 1; s < sequences; s++) llama_memory_seq_rm(state_->memory(), s, -1, -1);
  llama_memory_seq_rm(state_->memory(), 0, begin, -1);
  return 1e3 * sequences * tokens / ms;
}

double LlamaPeer::copy_sequence() {
  llama_memory_seq_rm(state_->memory(), 1, -1, -1);
  wait_until_idle();
  const Stopwatch timer;
  llama_memory_seq_cp(state_->memory(), 0, 1, -1, -1);
  return timer.ms();
}

}  // namespace kvedit::bench
