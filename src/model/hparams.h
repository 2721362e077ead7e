// Hyper-parameters from GGUF metadata, with llama.cpp's defaults.
#pragma once

#include "model/architecture.h"
#include "model/gguf_file.h"
#include "model/network.h"

namespace kvedit {

/// Throws Error(corrupt) for a missing key or a value out of range, Error(unsupported) for a key whose
/// value asks for what no graph of ours computes; each names the key and the value.
Hparams read_hparams(const GgufFile& file);

}  // namespace kvedit
