"""Tokens per second of our decoding against transformers' generate, on identical weights, interleaved, one thread.

    python benchmarks/decoding_speed.py                      # 11M, batch 1 and 8; 124M, batch 1 and 8; about 10 minutes
    python benchmarks/decoding_speed.py --models 11M --repeats 3

Both get the same prompt ids, random weights and settings, and must first return the same ids (for sampling: both draw
on their own, so only the greedy and beam ids are compared). Each repeat runs one after the other; medians are shown.
"products alone", at batch 1, is greedy decoding with only the prompt and the matrix products for ours: the ratio that
free attention, norms, choice and Python would give.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from scaling.accounting import count_params
from scaling.architecture import Architecture, find_preset
from scaling.lm import Beam, Greedy, Sample, Temperature, TopK, TopP, Transformer, build_model, generate
from scaling.lm.models.convert import huggingface_config
from scaling.lm.models.names import to_huggingface_tensors

PROMPT_LENGTH = 16
NEW_TOKENS = {"11M": 128, "124M": 32}
ARCHITECTURES = {
    "11M": Architecture(n_layers=6, d_model=384, n_heads=6, vocab_size=1024, context_length=256),
    "124M": find_preset("gpt2"),
}
TARGETS = {
    ("11M", 1): 1.5,
    ("11M", 8): 1.3,
    ("124M", 1): 1.2,
    ("124M", 8): 1.2,
}  # greedy and sampling; beam 1.0


@dataclass(frozen=True, kw_only=True)
class Method:
    """The same decoding in both libraries."""

    ours: Any
    theirs: dict[str, Any]
    same_ids: bool = True
    batches: tuple[int, ...] = (1, 8)


METHODS = {
    "greedy": Method(ours=Greedy(), theirs={"do_sample": False}),
    "k50 p.9 T.8": Method(
        ours=Sample(Temperature(0.8), TopK(50), TopP(0.9)),
        theirs={"do_sample": True, "temperature": 0.8, "top_k": 50, "top_p": 0.9},
        same_ids=False,
    ),
    "products alone": Method(ours=None, theirs={"do_sample": False}, same_ids=False, batches=(1,)),
    "beam 4": Method(
        ours=Beam(4, length_penalty=1.0, early_stopping="heuristic"),
        theirs={"do_sample": False, "num_beams": 4},
    ),
}


def transformers_copy(model: Transformer) -> Any:
    """The same weights in transformers' GPT-2."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = huggingface_config(model.architecture)
    theirs = GPT2LMHeadModel(GPT2Config(**config)).eval()
    tensors = to_huggingface_tensors(
        model.architecture, "gpt2", {k: v.detach() for k, v in model.named_parameters()}
    )
    theirs.load_state_dict(tensors, strict=False)
    return theirs


def callers(
    model: Transformer, theirs: Any, method: Method, batch: int, n_new: int
) -> tuple[Callable, Callable]:
    """Two functions without arguments, ours and theirs, that return the new ids."""
    from transformers import GenerationConfig

    vocab = model.vocab_size
    ids = torch.randint(0, vocab, (batch, PROMPT_LENGTH), generator=torch.Generator().manual_seed(0))
    config = GenerationConfig(
        max_new_tokens=n_new, eos_token_id=None, pad_token_id=0, bos_token_id=None, **method.theirs
    )
    mask = torch.ones_like(ids)
    prompts = ids.tolist()

    def run_ours() -> list[list[int]]:
        return [list(g.ids) for g in generate(model, prompts, None, method.ours, max_new_tokens=n_new)]

    def run_theirs() -> list[list[int]]:
        out = theirs.generate(ids, attention_mask=mask, generation_config=config)
        return out[:, PROMPT_LENGTH:].tolist()

    return run_ours if method.ours else products_of(model, prompts, n_new), run_theirs


def products_of(model: Transformer, prompts: list[list[int]], n_new: int) -> Callable:
    """Read the prompt, then multiply one vector by every matrix of the model, once a token."""
    matrices = {m.weight for m in model.modules() if isinstance(m, torch.nn.Linear)} | {model.head_weight}
    vectors = {m.shape[1]: torch.randn(m.shape[1]) for m in matrices}

    @torch.inference_mode()
    def run() -> None:
        model.start(prompts, n_new)
        for _ in range(n_new - 1):
            for matrix in matrices:
                torch.mv(matrix, vectors[matrix.shape[1]])

    return run


def seconds(run: Callable) -> tuple[float, float]:
    """Wall and process seconds of one call."""
    wall, process = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - process


def compare(
    name: str, method_name: str, batch: int, repeats: int, models: tuple[Transformer, Any]
) -> dict[str, Any]:
    """One row of the table."""
    method, n_new = METHODS[method_name], NEW_TOKENS[name]
    run_ours, run_theirs = callers(*models, method, batch, n_new)
    ours_ids, theirs_ids = run_ours(), run_theirs()
    if method.same_ids and ours_ids != theirs_ids:
        raise SystemExit(f"{name} batch {batch} {method_name}: the ids differ, so speeds cannot be compared")
    times = [(seconds(run_theirs), seconds(run_ours)) for _ in range(repeats)]
    n_tokens = batch * n_new
    row = {"model": name, "batch": batch, "method": method_name, "repeats": repeats}
    for clock, index in (("wall", 0), ("process", 1)):
        theirs, ours = (statistics.median(pair[side][index] for pair in times) for side in (0, 1))
        ratio = statistics.median(pair[0][index] / pair[1][index] for pair in times)
        row.update(
            {f"{clock}_theirs": n_tokens / theirs, f"{clock}_ours": n_tokens / ours, f"{clock}_ratio": ratio}
        )
    row["target"] = None if method.ours is None else 1.0 if "beam" in method_name else TARGETS[name, batch]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=list(ARCHITECTURES), choices=list(ARCHITECTURES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.json:
        print(
            "tokens/s (process time, wall)      transformers         ours               ratio        target"
        )
    for name in options.models:
        model = build_model(ARCHITECTURES[name])
        models = model, transformers_copy(model)
        if not options.json:
            print(
                f"# {name}: {count_params(ARCHITECTURES[name]).total:,} parameters, {NEW_TOKENS[name]} new tokens"
            )
        for batch in options.batches:
            for method in options.methods:
                if batch not in METHODS[method].batches:
                    continue
                show(compare(name, method, batch, options.repeats, models), as_json=options.json)


def show(row: dict[str, Any], *, as_json: bool) -> None:
    """Print one row."""
    if as_json:
        print(json.dumps(row), flush=True)
        return
    columns = [f"{row['process' + s]:8.1f} {row['wall' + s]:8.1f}" for s in ("_theirs", "_ours")]
    ratio = f"{row['process_ratio']:5.2f} {row['wall_ratio']:5.2f}"
    label = f"{row['model']} batch {row['batch']} {row['method']}"
    target = f">= {row['target']}" if row["target"] else "-"
    print(f"{label:28s} {columns[0]}  {columns[1]}   {ratio}   {target}", flush=True)


if __name__ == "__main__":
    main()
