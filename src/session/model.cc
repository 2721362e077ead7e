#include <algorithm>
#include <iterator>

#include "base/cancel.h"
#include "base/cpus.h"
#include "compute/forwarding.h"
#include "compute/kernels/attention.h"
#include "compute/kernels/gemm.h"
#include "compute/linear.h"
#include "session/conversation.h"
#include "session/model_impl.h"
#include "session/state.h"
#include "session/work_state.h"
#include "tools/text.h"

namespace kvedit {
namespace {

const char* linear_name(LinearKernel kernel) {
  switch (kernel) {
    case LinearKernel::ggml:
      return "ggml";
    case LinearKernel::f32:
      return "f32";
    case LinearKernel::f32_dense:
      return "f32-dense";
    case LinearKernel::bf16:
      return "bf16";
    case LinearKernel::int8_dense:
      return "int8-dense";
    default:
      return "auto";
  }
}

// Throws for what is no number of threads or tokens.
ModelOptions checked(ModelOptions options) {
  if (options.threads < 0 || options.threads > kMaxThreads) {
    fail(ErrorCode::out_of_range, "model", options.threads, " threads asked for; 1 to ", kMaxThreads,
         ", or 0 for one a core");
  }
  if (options.block_tokens < 1 || options.block_tokens > kMaxBlockTokens) {
    fail(ErrorCode::out_of_range, "model", "blocks of ", options.block_tokens, " tokens asked for; 1 to ",
         kMaxBlockTokens);
  }
  if (options.threads == 0) options.threads = std::min(usable_cpus(), kMaxThreads);
  options.linear = resolve(options.linear);
  return options;
}

}  // namespace

ModelImpl::ModelImpl(const std::string& path, const ModelOptions& options)
    : options_(checked(options)), network_(Network::load(path)), tokenizer_(path) {
  if (!options.chat_template.empty()) tokenizer_.set_chat_template(options.chat_template);
  const Hparams& h = network_->hparams();
  pool_ = PagePool::create({h.key_dim, h.value_dim, options.cache}, options.pool_limit_bytes);
  if (options.zero_freed_pages) pool_->zero_freed();
}

ModelInfo ModelImpl::info() const {
  const Hparams& h = network_->hparams();
  ModelInfo info;
  info.architecture = h.architecture;
  info.name = h.name;
  info.path = network_->path();
  info.weight_types = network_->weight_types();
  info.weight_bytes = network_->weight_bytes();
  info.layers = h.layers;
  info.d_model = h.d_model;
  info.d_ff = h.d_ff;
  info.heads = h.heads;
  info.kv_heads = h.kv_heads;
  info.key_dim = h.key_dim;
  info.vocabulary = h.vocabulary;
  info.context_length = h.context_length;
  info.window = h.window;
  info.sliding_layers = static_cast<int>(std::count(h.sliding.begin(), h.sliding.end(), true));
  info.bytes_per_token = pool_->page_bytes() * h.layers * h.kv_heads / kPageEntries;
  info.fingerprint = network_->fingerprint();
  info.has_chat_template = tokenizer_.has_chat_template();
  info.linear = linear_name(options_.linear);
  info.amx = options_.linear == LinearKernel::bf16 && gemm_uses_amx();
  info.attention = attention_target();
  info.threads = options_.threads;
  return info;
}

Cache ModelImpl::new_cache() const {
  const Hparams& h = network_->hparams();
  return {pool_, h.layers, h.kv_heads, h.ropes};
}

namespace {

thread_local bool dry = false;

}  // namespace

DryRun::DryRun() { dry = true; }
DryRun::~DryRun() { dry = false; }
bool DryRun::on() { return dry; }

ModelImpl::Lease::Lease(ModelImpl& model) : model_(model) {
  const ModelOptions& o = model_.options_;
  if (DryRun::on()) {
    engine_.emplace_back(model_.network_, o.block_tokens, [](Forwarding& f) { f.advance(f.left()); });
    return;
  }
  if (Work::State* const work = current_work()) {
    engine_.emplace_back(model_.network_, o.block_tokens, [work](Forwarding& f) { work->wait_for(f); });
    return;
  }
  {
    const std::scoped_lock lock(model_.mutex_);
    if (!model_.idle_.empty()) engine_.splice(engine_.begin(), model_.idle_, model_.idle_.begin());
  }
  if (engine_.empty()) engine_.emplace_back(model_.network_, o.threads, o.linear, o.block_tokens);
  const std::scoped_lock lock(model_.mutex_);
  model_.leased_++;
}

ModelImpl::Lease::~Lease() {
  if (engine_.front().relays()) return;
  std::list<Engine> surplus;  // goes when the lock has
  const std::scoped_lock lock(model_.mutex_);
  model_.leased_--;
  auto& idle = model_.idle_;
  idle.splice(idle.begin(), engine_);
  const size_t kept = std::min(idle.size(), std::max<size_t>(1, model_.leased_));
  surplus.splice(surplus.begin(), idle, std::next(idle.begin(), static_cast<ptrdiff_t>(kept)), idle.end());
}

size_t ModelImpl::engines() const {
  const std::scoped_lock lock(mutex_);
  return idle_.size() + leased_;
}

const std::shared_ptr<ModelImpl>& implementation(const Model& model) { return model.impl_; }

std::shared_ptr<Model> Model::load(const std::string& path, const ModelOptions& options) {
  return std::shared_ptr<Model>(new Model(std::make_shared<ModelImpl>(path, options)));
}

Model::Model(std::shared_ptr<ModelImpl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

ModelInfo Model::info() const { return impl_->info(); }
PoolStats Model::pool() const { return impl_->page_pool()->stats(); }

void Model::set_pool_limit(size_t bytes) { impl_->page_pool()->set_limit(bytes); }

std::vector<Token> Model::tokenize(std::string_view text, bool special) const {
  return impl_->tokenizer().encode(text, special, false);
}

std::vector<Token> Model::tokenize(std::span<const TextPart> parts, Token behind) const {
  return impl_->tokenizer().encode(parts, behind);
}

std::string Model::detokenize(std::span<const Token> tokens) const {
  return impl_->tokenizer().decode(tokens);
}

std::string Model::piece(Token token, Token behind) const { return impl_->tokenizer().piece(token, behind); }
std::optional<Token> Model::begin_token() const { return impl_->tokenizer().begin_token(); }
bool Model::is_end(Token token) const { return impl_->tokenizer().is_end(token); }
bool Model::is_control(Token token) const { return impl_->tokenizer().is_control(token); }

std::string Model::format(std::span<const Message> messages, bool reply, const Cancel& cancel) const {
  const CancelScope scope(cancel);
  check_roles(messages);
  return impl_->tokenizer().format(messages, reply);
}

std::shared_ptr<const Adapter> Model::load_adapter(const std::string& path) const {
  return std::make_shared<const Adapter>(Lora::load(path, impl_->network()));
}

std::shared_ptr<const Adapter> Model::zero_adapter(int rank) const {
  return std::make_shared<const Adapter>(Lora::zero(impl_->network(), rank));
}

std::string Model::companion(std::string_view ending) const { return impl_->companion(ending); }

}  // namespace kvedit
