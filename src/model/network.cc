#include "model/network.h"

#include <ggml-backend.h>
#include <ggml-cpp.h>
#include <xxhash.h>

#include <algorithm>

#include "model/gguf_file.h"
#include "model/hparams.h"
#include "model/weights.h"
#include "tools/text.h"

namespace kvedit {
namespace {

constexpr size_t kSampleBytes = 4096;

/// Metadata and table whole; of each tensor its start, middle and end.
uint64_t fingerprint_of(const GgufFile& file) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  if (!state) fail(ErrorCode::no_memory, "model", "no memory for a hash");
  XXH3_64bits_reset(state.get());
  XXH3_64bits_update(state.get(), file.bytes().data(), file.data_offset());
  for (const TensorEntry& entry : file.tensors()) {
    const size_t sample = std::min(kSampleBytes, entry.size);
    for (const size_t offset : {size_t{0}, (entry.size - sample) / 2, entry.size - sample}) {
      XXH3_64bits_update(state.get(), entry.data + offset, sample);
    }
  }
  return XXH3_64bits_digest(state.get());
}

class MappedNetwork final : public Network {
 public:
  explicit MappedNetwork(const std::string& path) : file_(path) {
    path_ = path;
    hparams_ = read_hparams(file_);
    context_.reset(
        ggml_init({.mem_size = tensor_table_bytes(file_), .mem_buffer = nullptr, .no_alloc = true}));
    buffer_.reset(
        ggml_backend_cpu_buffer_from_ptr(const_cast<std::byte*>(file_.bytes().data()), file_.bytes().size()));
    if (!context_ || !buffer_)
      fail(ErrorCode::no_memory, "model", "no memory for the tensors of \"", path, "\"");
    ggml_backend_buffer_set_usage(buffer_.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    Weights weights = bind_weights(file_, hparams_, context_.get(), buffer_.get());
    layers_ = std::move(weights.layers);
    embedding_ = weights.embedding;
    output_norm_ = weights.output_norm;
    output_ = weights.output;
    for (const TensorEntry& entry : file_.tensors()) weight_bytes_ += entry.size;
    weight_types_ = count_types(file_);
    fingerprint_ = fingerprint_of(file_);
  }

  void check_file() const override { file_.check(); }

 private:
  GgufFile file_;
  ggml_context_ptr context_;
  ggml_backend_buffer_ptr buffer_;
};

}  // namespace

std::shared_ptr<const Network> Network::load(const std::string& path) {
  return std::make_shared<MappedNetwork>(path);
}

}  // namespace kvedit
