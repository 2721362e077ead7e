#!/usr/bin/env python3
"""Answers the examples of `kvedit eval` with kvpress and transformers, on the same tokens and weights.

    python3 -m venv venv && venv/bin/pip install -r bench/peers/requirements.txt
    kvedit eval niah --lengths 1024 --examples 8 --dump-examples examples.jsonl
    venv/bin/python bench/peers/kvpress_eval.py MODEL.gguf examples.jsonl --keep 25% >kvpress.jsonl
    kvedit eval niah --lengths 1024 --examples 8 --policy snapkv --keep 25% --answers kvpress.jsonl --out niah

The last one scores the answers by the task's own rule and puts them into its tables (docs/formats.md). The
weights are the GGUF's, dequantised. A press has kvpress's own defaults and prunes while the prompt is read;
what follows stands at the positions it would have in the full text. Where nothing follows, the prompt's last
token is read after the edit, as ours is.
"""

import argparse
import copy
import importlib.metadata
import json
import pathlib
import sys
import time

import kvpress
import torch
import transformers

# Name: the press for a compression ratio, or None.
PRESSES = {
    "full": lambda ratio: None,
    "snapkv": kvpress.SnapKVPress,
    "streaming-llm": kvpress.StreamingLLMPress,
    "keydiff": kvpress.KeyDiffPress,
    "k-norm": kvpress.KnormPress,
    "tova": kvpress.TOVAPress,
    "expected-attention": kvpress.ExpectedAttentionPress,
    "ada-snapkv": lambda ratio: kvpress.AdaKVPress(kvpress.SnapKVPress(ratio)),
    "pyramidkv": kvpress.PyramidKVPress,
    "critical-snapkv": lambda ratio: kvpress.CriticalKVPress(kvpress.SnapKVPress(ratio)),
    "h2o": kvpress.ObservedAttentionPress,  # reads attention's weights, which only "eager" returns
}


def described(press):
    inner = getattr(press, "press", None)
    return f"{type(press).__name__}({inner!r})" if inner else repr(press) if press else "full"


def peak_bytes():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


def reset_peak():
    pathlib.Path("/proc/self/clear_refs").write_text("5")


class Cell:
    """A press at a budget, on one model; adds up what its work costs."""

    def __init__(self, model, name, keep):
        self.model = model
        self.policy = f"kvpress:{name}"
        self.keep = "100%" if name == "full" else keep
        self.press = PRESSES[name](1 - float(self.keep.rstrip("%")) / 100)
        self.eager = name == "h2o"
        if self.press:
            compress = self.press.compress
            self.press.compress = lambda *arguments: self.timed("edit_ms", compress, *arguments)

    def start(self):
        reset_peak()
        self.costs = {"read_ms": 0, "edit_ms": 0, "answer_ms": 0}

    def timed(self, key, work, *arguments):
        begin = time.perf_counter()
        result = work(*arguments)
        self.costs[key] += 1000 * (time.perf_counter() - begin)
        return result

    def prefill(self, tokens):
        cache = transformers.DynamicCache()
        self.model.set_attn_implementation("eager" if self.eager else "sdpa")
        if self.press:
            with self.press(self.model):
                self.model.model(torch.tensor([tokens]), past_key_values=cache)
        else:
            self.model.model(torch.tensor([tokens]), past_key_values=cache)
        self.model.set_attn_implementation("sdpa")
        return cache

    def forward(self, cache, tokens, position):
        """Logits [tokens, vocabulary]."""
        # transformers makes one causal mask for all layers, wrong where they hold different numbers of entries.
        lengths = {layer.keys.shape[2] for layer in cache.layers}
        size = len(tokens) if len(lengths) == 1 else 1
        logits = []
        for i in range(0, len(tokens), size):
            part = torch.tensor([tokens[i : i + size]])
            positions = torch.arange(position + i, position + i + part.shape[1])[None]
            logits.append(self.model(part, past_key_values=cache, position_ids=positions).logits[0])
        return torch.cat(logits)

    def generate(self, cache, after, position, question, end_tokens, tokenizer):
        logits = self.forward(cache, after, position)
        position += len(after)
        answer = []
        while len(answer) < question["answer_tokens"]:
            if question["begins"] and not answer:
                logits[-1][[*end_tokens, tokenizer("\n", add_special_tokens=False)["input_ids"][-1]]] = -torch.inf
            token = int(logits[-1].argmax())
            if token in end_tokens:
                break
            answer.append(token)
            text = tokenizer.decode(answer[1:] if question["begins"] else answer)
            if any(stop in text for stop in question["stop"]):
                break
            logits = self.forward(cache, [token], position)
            position += 1
        return answer

    def forced(self, cache, after, position, continuation):
        """Log-probabilities [continuation, vocabulary]."""
        logits = self.forward(cache, after + continuation[:-1], position)
        return logits[len(after) - 1 :].double().log_softmax(-1)


def answers_of(cell, example, full, setting, tokenizer):
    """`full`: log-probabilities of the full cache by question, filled by the first cell, where a text is forced."""
    known, base, answers, size = None, None, [], 0
    for i, question in enumerate(example["questions"]):
        if question["compared"] or question["candidates"]:
            sys.exit("the task compares with what the exact cache answers: no other implementation can be scored")
        cut = question["cut"] if question["cut"] >= 0 else len(example["context"])
        ahead, after = example["context"][:cut] + question["before"], question["after"]
        if not after:
            ahead, after = ahead[:-1], ahead[-1:]
        if ahead != known:
            edited = cell.costs["edit_ms"]
            base, known = cell.timed("read_ms", cell.prefill, ahead), ahead
            cell.costs["read_ms"] -= cell.costs["edit_ms"] - edited
            size = max(size, sum(x.nbytes for layer in base.layers for x in (layer.keys, layer.values)))
        cache, answer = copy.deepcopy(base), {"prompt": question["prompt"]}
        if question["continuation"]:
            forced = question["continuation"]
            logs = cell.timed("answer_ms", cell.forced, cache, after, len(ahead), forced)
            exact = full.setdefault(i, logs)
            answer["kl"] = float((exact.exp() * (exact - logs)).sum(-1).mean())
            answer["perplexity"] = float((-logs[range(len(forced)), forced].mean()).exp())
        else:
            answer["tokens"] = cell.timed(
                "answer_ms", cell.generate, cache, after, len(ahead), question, setting["end_tokens"], tokenizer
            )
        answers.append(answer)
    return answers, size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("examples", type=argparse.FileType())
    parser.add_argument("--press", action="append", choices=PRESSES, help="repeatable; default: all")
    parser.add_argument("--keep", action="append", required=True, help="repeatable: 25%%")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    source = {"pretrained_model_name_or_path": options.model.parent, "gguf_file": options.model.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
    model = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype=getattr(torch, options.dtype)).eval()

    setting, *examples = map(json.loads, options.examples)
    names = options.press or list(PRESSES)
    forced = any(question["continuation"] for example in examples for question in example["questions"])
    cells = [Cell(model, "full", "100%")] if forced or "full" in names else []
    cells += [Cell(model, name, keep) for keep in options.keep for name in names if name != "full"]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("kvpress", "transformers", "torch")]
    made_by = f"{', '.join(versions)}; {options.dtype}, {options.threads} thread(s)"
    print(json.dumps({"fingerprint": setting["fingerprint"], "made_by": made_by}), flush=True)
    for example in examples:
        full = {}
        for cell in cells:
            cell.start()
            with torch.no_grad():
                answers, size = answers_of(cell, example, full, setting, tokenizer)
            result = {
                "length": example["length"],
                "example": example["example"],
                "policy": cell.policy,
                "keep": cell.keep,
                "resolved": described(cell.press),
                "answers": answers,
                **cell.costs,
                "bytes": size,
                "peak_bytes": peak_bytes(),
            }
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
