"""Learning is real: excess loss against a known truth, and a small transformer against a trigram on real text.

    python benchmarks/learning.py synthetic --out learning.png     # 100k parameters: excess over E
    python benchmarks/learning.py stdlib --minutes 10              # 1.3M parameters against a trigram with back-off

`synthetic` trains one trunk with decay branches (wsd), so every point is the end of a schedule. `stdlib` counts CPU
minutes of one thread. The trigram is interpolated absolute discounting (Ney, Essen, Kneser 1994), counted on the whole
training split, with the discount chosen on the validation text itself, in its favour.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scaling.architecture import Architecture
from scaling.fitting.surface.general_fit import fit_law
from scaling.laws import Law
from scaling.lm.budget import choose_shape
from scaling.lm.corpus import ShardCorpus, SyntheticCorpus, load_corpus
from scaling.lm.evaluation import load_validation_block
from scaling.lm.recipes import OptimizerName, Recipe, Schedule
from scaling.lm.run import RunResult, RunSpec, TrainingOptions
from scaling.lm.training import train, train_branches
from scaling.plots import style
from scaling.runs import Runs

Ids = NDArray[np.int64]


def learn_synthetic(lengths: list[int], out: Path | None) -> None:
    """Loss of a 100k-parameter model against tokens, and the power law by which it falls."""
    shape = Architecture(n_layers=2, d_model=56, n_heads=2, vocab_size=256, context_length=64)
    spec = RunSpec(
        architecture=shape,
        corpus="synthetic:bits=7,seed=0",
        recipe=Recipe(learning_rate=1e-2, batch_size=32, optimizer="muon"),
        schedule=Schedule(kind="wsd", warmup_steps=50),
        n_steps=lengths[-1],
        n_eval_windows=2048,
    )
    corpus = load_corpus(spec.corpus)
    assert isinstance(corpus, SyntheticCorpus)
    entropy = corpus.language.entropy().value
    print(f"{spec.n_params:,} parameters; E = {entropy:.5f} nats/token")
    with tempfile.TemporaryDirectory() as folder:
        results = train_branches(spec, lengths, folder, options=TrainingOptions(device="cpu", log_every=100))
    unfinished = [r for r in results if r.status != "done"]
    if unfinished:
        raise SystemExit(
            f"{unfinished[0].run_id} ended as {unfinished[0].status}; nothing is fitted. Run it again."
        )
    for r in results:
        print(
            f"{r.n_tokens:>12,} tokens  loss {r.loss:.4f}  excess {r.excess:.4f} ± {r.excess_standard_error:.4f}"
        )
    runs = Runs(
        n_params=np.array([r.n_params for r in results], dtype=float),
        n_tokens=np.array([r.n_tokens for r in results], dtype=float),
        flops=np.array([r.flops for r in results]),
        # the excess is free of the noise of which tokens were drawn for validation
        loss=np.array([r.excess + entropy for r in results]),
        run_id=tuple(r.run_id for r in results),
    )
    fit = fit_law(runs, "tokens_power_law_floor")
    law = fit.coefficients
    scatter = np.std(np.log(runs.loss / fit.law.loss(runs.n_params, runs.n_tokens)))
    print(
        f"loss = {law['E']:.4f} + (D_c / D)^{law['alpha']:.3f}: floor {law['E'] - entropy:.4f} above E, "
        f"scatter {scatter:.2%} of the loss"
    )
    if out is not None:
        draw(results, entropy, fit.law, out)


def draw(results: list[RunResult], entropy: float, law: Law, out: Path) -> None:
    import matplotlib.pyplot as plt

    tokens = np.array([r.n_tokens for r in results], dtype=float)
    excess = np.array([r.excess for r in results], dtype=float)
    error = np.array([r.excess_standard_error for r in results], dtype=float)
    fine = np.geomspace(tokens[0] / 1.3, tokens[-1] * 1.3, 200)
    floor = law.coefficients["E"] - entropy
    with style.context():
        figure, ax = plt.subplots(figsize=(5.4, 3.7), layout="constrained")
        fitted = law.loss(np.full_like(fine, results[0].n_params), fine) - entropy
        exponent = f"{law.coefficients['alpha']:.2f}"
        ax.plot(fine, fitted, color=style.FIT, label=rf"floor + $(D_c / D)^{{{exponent}}}$")
        ax.axhline(
            floor, color=style.FIT, linestyle=style.EXTRAPOLATED, linewidth=1, label=f"floor {floor:.3f}"
        )
        ax.errorbar(tokens, excess, yerr=1.96 * error, fmt="o", color=style.INK, label="measured (95 %)")
        ax.set(xscale="log", yscale="log", ylabel="loss above E (nats/token)")
        ax.set_yticks([0.1, 0.2, 0.3, 0.5, 1.0], labels=["0.1", "0.2", "0.3", "0.5", "1"])
        ax.minorticks_off()
        ax.set_ylim(min(floor, excess.min()) / 1.3, excess.max() * 1.4)
        style.tokens_axis(ax.xaxis)
        ax.set_title(f"{results[0].n_params:,} parameters learn a language of known entropy")
        ax.legend(frameon=False)
        figure.savefig(out, dpi=150)
        plt.close(figure)


def learn_stdlib(minutes: float, optimizer: OptimizerName, seed: int) -> None:
    """A 1.3M-parameter model after `minutes` of CPU time against the trigram, on the same validation tokens."""
    corpus = load_corpus("stdlib")
    assert isinstance(corpus, ShardCorpus)
    shape = choose_shape("tiny", vocab_size=corpus.vocab_size)
    block = load_validation_block(corpus, shape.context_length, 256)
    stream = corpus.stream("train")
    trigram, discount = best_trigram(stream.read(0, stream.n_tokens), block.ids, corpus.vocab_size)
    bits = 1 / math.log(2) * block.counted.sum() / block.n_bytes
    print(
        f"trigram ({stream.n_tokens:,} tokens, discount {discount}): {trigram:.3f} nats/token, "
        f"{trigram * bits:.3f} bits/byte"
    )

    recipe = Recipe(learning_rate=1e-2, batch_size=8, optimizer=optimizer)
    probe = RunSpec(architecture=shape, corpus="stdlib", recipe=recipe, n_steps=30, n_eval_windows=2)
    options = TrainingOptions(device="cpu", log_every=20)
    train(probe.replace(n_steps=1), options=options)
    start = time.process_time()
    train(probe, options=options)
    seconds_per_step = (time.process_time() - start) / probe.n_steps
    n_steps = int(minutes * 60 / seconds_per_step)
    schedule = Schedule(kind="wsd", warmup_steps=max(1, n_steps // 20), decay_fraction=0.3)
    spec = probe.replace(
        n_steps=n_steps, schedule=schedule, n_eval_windows=256, init_seed=seed, data_seed=seed
    )
    start = time.process_time()
    result = train(spec, options=options)
    spent = (time.process_time() - start) / 60
    if result.status != "done":
        raise SystemExit(f"the run ended as {result.status} after {spent:.1f} CPU minutes. Run it again.")
    print(f"{result.n_params:,} parameters, {optimizer}, {result.n_tokens:,} tokens, {spent:.1f} CPU minutes")
    loss = f"{result.loss:.3f} ± {result.loss_standard_error:.3f} nats/token"
    print(f"transformer: {loss}, {result.bits_per_byte:.3f} bits/byte")
    print(f"difference: {result.loss - trigram:+.3f} nats/token (negative: the transformer is better)")


def best_trigram(train_ids: Ids, windows: Ids, vocab_size: int) -> tuple[float, float]:
    """Mean -ln p of the windows' targets under the best of a few discounts, and that discount."""
    losses = {d: trigram_loss(train_ids, windows, vocab_size, d) for d in (0.6, 0.7, 0.8, 0.9)}
    best = min(losses, key=losses.__getitem__)
    return losses[best], best


def trigram_loss(train_ids: Ids, windows: Ids, vocab_size: int, discount: float) -> float:
    """Interpolated absolute discounting; the first target of a window has one token of context."""
    V = vocab_size
    uni = np.bincount(train_ids, minlength=V)
    p = (uni + 0.5) / (uni.sum() + 0.5 * V)
    u, v, w = windows[:, :-2].ravel(), windows[:, 1:-1].ravel(), windows[:, 2:].ravel()
    bigrams = Counts(train_ids[:-1] * V + train_ids[1:], V)
    trigrams = Counts((train_ids[:-2] * V + train_ids[1:-1]) * V + train_ids[2:], V)
    p_bigram = bigrams.interpolate(v, w, p[w], discount)
    p_trigram = trigrams.interpolate(u * V + v, w, p_bigram, discount)
    first = bigrams.interpolate(windows[:, 0], windows[:, 1], p[windows[:, 1]], discount)
    return float(-np.log(np.concatenate([first, p_trigram])).mean())


class Counts:
    """Counts of n-grams keyed context * V + word."""

    def __init__(self, keys: Ids, vocab_size: int) -> None:
        self.V = vocab_size
        self.keys, self.counts = np.unique(keys, return_counts=True)
        self.contexts, starts = np.unique(self.keys // vocab_size, return_index=True)
        self.totals = np.add.reduceat(self.counts, starts)
        self.kinds = np.diff(np.append(starts, len(self.keys)))

    def interpolate(self, context: Ids, word: Ids, lower: NDArray, discount: float) -> NDArray:
        count = _look_up(self.keys, self.counts, context * self.V + word)
        total = _look_up(self.contexts, self.totals, context)
        kinds = _look_up(self.contexts, self.kinds, context)
        seen = np.maximum(total, 1)
        p = np.maximum(count - discount, 0) / seen + discount * kinds / seen * lower
        return np.where(total > 0, p, lower)


def _look_up(keys: Ids, values: Ids, wanted: Ids) -> Ids:
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["synthetic", "stdlib"])
    parser.add_argument("--minutes", type=float, default=10, help="CPU minutes (stdlib)")
    parser.add_argument(
        "--steps",
        type=int,
        nargs="+",
        default=[125, 177, 250, 354, 500, 707, 1000, 1414, 2000, 2828, 4000],
        help="lengths (synthetic)",
    )
    parser.add_argument("--optimizer", choices=["muon", "adamw"], default="muon", help="stdlib")
    parser.add_argument("--out", type=Path, help="figure (synthetic)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == "synthetic":
        learn_synthetic(args.steps, args.out)
    else:
        learn_stdlib(args.minutes, args.optimizer, args.seed)


if __name__ == "__main__":
    main()
