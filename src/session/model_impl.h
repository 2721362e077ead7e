// What stands behind kvedit::Model: the network, its tokenizer, the page pool, and engines on lease.
#pragma once

#include <list>
#include <memory>
#include <mutex>

#include "cache/cache.h"
#include "compute/engine.h"
#include "context/context.h"
#include "kvedit/model.h"
#include "model/companions.h"
#include "model/network.h"
#include "model/tokenizer.h"

namespace kvedit {

inline constexpr int kMaxThreads = 512;  // ggml's
inline constexpr int kMaxBlockTokens = 1 << 16;

class ModelImpl {
 public:
  ModelImpl(const std::string& path, const ModelOptions& options);

  ModelInfo info() const;
  std::string companion(std::string_view ending) const {
    return find_companion(options_.companions, ending, network_->fingerprint());
  }

  const Network& network() const { return *network_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const std::shared_ptr<PagePool>& page_pool() const { return pool_; }
  const std::shared_ptr<const Network>& shared_network() const { return network_; }
  const ModelOptions& options() const { return options_; }
  Cache new_cache() const;
  Context new_context() const { return {network_, new_cache(), tokenizer_.begin_token()}; }

  /// An engine for the time of one call, on the thread of work in steps one that hands its runs on (Work);
  /// sessions in different threads get different ones. Afterwards no more engines stay idle than are on
  /// lease, but for one that always stays: they serve the calls to come while many sessions work, and go when
  /// these have done.
  class Lease {
   public:
    explicit Lease(ModelImpl& model);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Engine& operator*() const { return engine_.front(); }
    Engine* operator->() const { return &engine_.front(); }

   private:
    ModelImpl& model_;
    mutable std::list<Engine> engine_;  // one; lists move it without memory
  };
  size_t engines() const;  // idle and on lease

 private:
  ModelOptions options_;
  std::shared_ptr<const Network> network_;
  Tokenizer tokenizer_;
  std::shared_ptr<PagePool> pool_;
  mutable std::mutex mutex_;
  std::list<Engine> idle_;  // the last used first
  size_t leased_ = 0;
};

const std::shared_ptr<ModelImpl>& implementation(const Model& model);

}  // namespace kvedit
