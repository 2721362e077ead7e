#!/usr/bin/env python3
"""Records what kvpress keeps, for tests/kvpress_test.cc: tests/fixtures/kvpress.json.

    python3 -m venv venv && venv/bin/pip install -r bench/peers/requirements.txt
    venv/bin/python bench/peers/kvpress_fixture.py MODEL.gguf [--text FILE] >tests/fixtures/kvpress.json

The weights are the GGUF's, dequantised to f32; a press prunes while the prompt is read, in attention's
forward hook, so that no layer sees another's eviction. The prompt is that of the recorded fixture, so that
it can be made again, unless --text gives a new one.
"""

import argparse
import importlib.metadata
import json
import pathlib
import sys

import gguf
import kvpress
import torch
import transformers

FIXTURE = pathlib.Path(__file__).parents[2] / "tests" / "fixtures" / "kvpress.json"
TOKENS = 600
RATIO = 0.5

# Our policy, with the parameters that make it kvpress's, and the press. kvpress keeps int(n (1 - ratio))
# entries a head, SnapKV's window and TOVA's last entry among them.
PRESSES = {
    "snapkv:window=64,kernel=5,sinks=0,recent=64": kvpress.SnapKVPress(RATIO, window_size=64, kernel_size=5),
    "keydiff:sinks=0,recent=0": kvpress.KeyDiffPress(RATIO),
    "k-norm:sinks=0,recent=0": kvpress.KnormPress(RATIO),
    "tova:sinks=0,recent=1": kvpress.TOVAPress(RATIO),
    "expected-attention:epsilon=0,sinks=4,recent=0": kvpress.ExpectedAttentionPress(RATIO),
    "expected-attention:epsilon=0.02,sinks=4,recent=0": kvpress.ExpectedAttentionPress(RATIO, epsilon=0.02),
}


def kept(press, model, tokens):
    """[layer][head] a bitmap of the kept positions in hex, position 0 the lowest bit."""
    bitmaps = []

    def recorded(module, hidden_states, keys, values, attentions, kwargs):
        scores = press.score(module, hidden_states, keys, values, attentions, kwargs)
        indices = scores.topk(int(keys.shape[2] * (1 - RATIO)), dim=-1).indices[0]
        bitmaps.append([f"{sum(1 << i for i in head):x}" for head in indices.tolist()])
        return keys, values

    press.compress = recorded
    with torch.no_grad(), press(model):
        model(torch.tensor([tokens]), past_key_values=transformers.DynamicCache(), logits_to_keep=1)
    return bitmaps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path)
    options = parser.parse_args()

    source = {"pretrained_model_name_or_path": options.model.parent, "gguf_file": options.model.name}
    if options.text:
        text = options.text.read_text()
        tokens = transformers.AutoTokenizer.from_pretrained(**source)(text)["input_ids"][:TOKENS]
    else:
        tokens = json.loads(FIXTURE.read_text())["tokens"]
    model = transformers.AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()

    record = {
        "made_by": "bench/peers/kvpress_fixture.py",
        "versions": {name: importlib.metadata.version(name) for name in ("kvpress", "torch", "transformers")},
        "model": options.model.name,
        "keep": 1 - RATIO,
        "tokens": tokens,
        "kept": {policy: kept(press, model, tokens) for policy, press in PRESSES.items()},
    }
    json.dump(record, sys.stdout, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
