// Shared by the tests of adapters: tiny networks, and adapters for them in both formats.
#pragma once

#include <ggml.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "model/adapter/lora.h"
#include "tiny_adapter.h"
#include "tiny_model.h"

namespace kvedit {

using Json = nlohmann::ordered_json;
using Spec = TinyAdapterSpec;

inline std::shared_ptr<const Network> network_of(const std::string& architecture) {
  return Network::load(write_tiny_model({.architecture = architecture}, temporary_path(architecture)));
}

inline const Network& llama() {
  static const auto network = network_of("llama");
  return *network;
}

inline std::shared_ptr<const Lora> from_gguf(const Network& network, const Spec& spec) {
  return Lora::load(write_lora_gguf(network, spec, temporary_path("adapter.gguf")), network);
}

inline std::shared_ptr<const Lora> from_peft(const Network& network, const Spec& spec) {
  return Lora::load(write_peft(network, spec, temporary_path("peft")), network);
}

inline std::span<const float> numbers(const ggml_tensor* tensor) {
  return {static_cast<const float*>(tensor->data), static_cast<size_t>(ggml_nelements(tensor))};
}

template <typename Load>
void expect_error(const Load& load, ErrorCode code, const std::vector<std::string>& parts) {
  try {
    load();
    ADD_FAILURE() << "loaded, wanted an error with \"" << parts[0] << "\"";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what() << "\n" << part;
    }
  }
}

}  // namespace kvedit
