"""Training tokens per second beside nanoGPT's model and optimizer, in alternation, on the same shapes.

    python benchmarks/training_speed.py                          # CPU, one thread
    python benchmarks/training_speed.py --threads 2              # CPU, two threads
    python benchmarks/training_speed.py --device cuda --sizes 1.3M 5.8M 21M 98M 320M --pack 8
    python benchmarks/training_speed.py --aggregate --sizes 1.3M  # two runs at once, on two threads

The peer is a re-creation, from torch's own modules, of what nanoGPT trains: fused query-key-value linear, SDPA with
is_causal, GELU MLP, pre-norm with biases, tied head, cross-entropy on all logits; AdamW with betas (.9, .95), decay on
matrices only, fused on CUDA alone; gradient clipping at 1; on CUDA bfloat16 autocast, TF32, eager and compiled. On a
CPU it runs a second time with the allocator setting that our trainer makes ("peer, kept memory"): one call that any
script could make, so the reader sees what it is worth. Each contender is a process of its own (allocator settings are
per process); they take turns, a few steps each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# name → layers, width, heads, context, vocabulary, windows per step
SIZES = {
    "1.3M": (4, 128, 4, 256, 4096, 16),
    "5.8M": (6, 256, 8, 256, 4096, 16),
    "21M": (8, 448, 7, 256, 4096, 8),
    "124M": (12, 768, 12, 1024, 50304, 16),
    "98M": (12, 768, 12, 1024, 16384, 16),
    "320M": (24, 1024, 16, 1024, 16384, 8),
}
# TFLOP/s thought within reach of one H200 in bfloat16 before anything was measured there; packed at the two smallest
EXPECTED = {"1.3M": "60-120", "5.8M": "120-200", "21M": "200-300", "98M": "400-450", "320M": "480"}
PEERS = ("peer", "peer-kept-memory", "peer-compiled")


class PeerBlock(nn.Module):
    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2, self.n_heads = nn.LayerNorm(d_model), nn.LayerNorm(d_model), n_heads
        self.c_attn, self.c_proj = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.up, self.down = nn.Linear(d_model, 4 * d_model), nn.Linear(4 * d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        q, k, v = (
            t.view(B, T, self.n_heads, -1).transpose(1, 2) for t in self.c_attn(self.ln_1(x)).split(D, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(B, T, D))
        return x + self.down(F.gelu(self.up(self.ln_2(x))))


class Peer(nn.Module):
    """nanoGPT's GPT from torch's modules."""

    def __init__(self, layers: int, d_model: int, n_heads: int, context: int, vocab: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, d_model), nn.Embedding(context, d_model)
        self.h = nn.ModuleList(PeerBlock(d_model, n_heads) for _ in range(layers))
        self.ln_f, self.lm_head = nn.LayerNorm(d_model), nn.Linear(d_model, vocab, bias=False)
        self.wte.weight = self.lm_head.weight
        for p in self.parameters():
            nn.init.normal_(p, std=0.02) if p.ndim > 1 else None

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.wte(x) + self.wpe(torch.arange(x.shape[1], device=x.device))
        for block in self.h:
            h = block(h)
        logits = self.lm_head(self.ln_f(h))
        return F.cross_entropy(logits.view(-1, logits.size(-1)), y.reshape(-1))


def peer_stepper(size: str, device: str, compiled: bool) -> Any:
    layers, d_model, heads, context, vocab, batch = SIZES[size]
    torch.backends.cuda.matmul.allow_tf32 = True
    model = Peer(layers, d_model, heads, context, vocab).to(device)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), fused=device != "cpu")
    forward = torch.compile(model) if compiled else model
    ids = torch.randint(0, vocab, (batch, context + 1), device=device)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=device != "cpu"):
            loss = forward(ids[:, :-1], ids[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def our_stepper(size: str, device: str, n_packed: int) -> Any:
    from scaling.architecture import Architecture
    from scaling.lm.device import choose_device, keep_memory
    from scaling.lm.distributed import Processes
    from scaling.lm.recipes import Recipe
    from scaling.lm.run import RunSpec
    from scaling.lm.train_step import TrainStep

    layers, d_model, heads, context, vocab, batch = SIZES[size]
    a = Architecture(
        n_layers=layers,
        d_model=d_model,
        n_heads=heads,
        vocab_size=vocab,
        context_length=context,
        activation="gelu",
    )
    spec = RunSpec(
        architecture=a, corpus="synthetic", recipe=Recipe(learning_rate=1e-3, batch_size=batch), n_steps=10**6
    )
    if device == "cpu":
        keep_memory()
    specs = [spec.replace(init_seed=k) for k in range(n_packed)]
    chosen = choose_device(device)
    on_gpu = device != "cpu"
    train_step = TrainStep(specs, chosen, Processes(), micro_batch=batch, compile_loss=on_gpu, stack=on_gpu)
    ids = torch.randint(0, vocab, (n_packed, batch, context + 1), device=device)
    return lambda: train_step.step(ids, [1e-3] * n_packed)


def worker(args: argparse.Namespace) -> None:
    """Answer each line on stdin with the seconds (CPU, wall) of some steps."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.worker == "peer-kept-memory":
        from scaling.lm.device import keep_memory

        assert keep_memory(), "this C library has no such setting"
    step = (
        our_stepper(args.sizes[0], args.device, args.pack)
        if args.worker == "ours"
        else peer_stepper(args.sizes[0], args.device, args.worker == "peer-compiled")
    )
    synchronise = torch.cuda.synchronize if args.device != "cpu" else (lambda: None)
    for _ in range(2):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        synchronise()
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(int(line)):
            step()
        synchronise()
        print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]), flush=True)


def start(
    kind: str, size: str, args: argparse.Namespace, *, pack: int = 1, threads: int | None = None
) -> Any:
    command = [sys.executable, __file__, "--worker", kind, "--sizes", size, "--device", args.device]
    command += ["--threads", str(threads or args.threads), "--pack", str(pack)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return process


def ask(process: Any, n_steps: int) -> None:
    process.stdin.write(f"{n_steps}\n")
    process.stdin.flush()


def answer(process: Any) -> list[float]:
    return json.loads(process.stdout.readline())


def compare(size: str, args: argparse.Namespace) -> None:
    """Ours and the peers in turns; tokens per median second and the median ratio of neighbours to each peer."""
    layers, d_model, heads, context, vocab, batch = SIZES[size]
    on_gpu = args.device != "cpu"
    kinds = {"ours": start("ours", size, args)}
    if args.pack > 1:
        kinds["ours-packed"] = start("ours", size, args, pack=args.pack)
    peers = ["peer", "peer-compiled" if on_gpu else "peer-kept-memory"]
    kinds |= {kind: start(kind, size, args) for kind in peers}
    spent: dict[str, list[list[float]]] = {kind: [] for kind in kinds}
    for _ in range(args.rounds):
        for kind, process in kinds.items():
            ask(process, args.steps)
            share = args.pack if kind == "ours-packed" else 1
            spent[kind].append([seconds / share for seconds in answer(process)])
    stop(kinds.values())
    from scaling.accounting import flops_per_token
    from scaling.architecture import Architecture
    from scaling.lm.device import choose_device

    shape = Architecture(
        n_layers=layers, d_model=d_model, n_heads=heads, vocab_size=vocab, context_length=context
    )
    peak = choose_device(args.device).peak_flops_per_s if on_gpu else None
    for kind in kinds:
        cells = []
        for clock, name in enumerate(("CPU", "wall")):
            rate = args.steps * batch * context / statistics.median(o[clock] for o in spent[kind])
            flops = rate * flops_per_token(shape)
            mfu = f" MFU {flops / peak:.1%}" if peak and name == "wall" else ""
            ratios = ", ".join(
                f"{statistics.median(p[clock] / o[clock] for p, o in zip(spent[peer], spent[kind])):.2f} x {peer}"
                for peer in peers
                if not kind.startswith("peer")
            )
            cells.append(f"{rate:>11,.0f} tokens/{name} s {flops / 1e12:>8.3g} TFLOP/{name} s{mfu} {ratios}")
        expected = f"   expected on an H200: {EXPECTED[size]}" if on_gpu and size in EXPECTED else ""
        print(f"{size:>5}  {kind:<16} {'   '.join(cells)}{expected}", flush=True)


def aggregate(size: str, args: argparse.Namespace) -> None:
    """Two runs at once on two threads against two in turn: wall seconds of a step of both."""
    pair = [start("ours", size, args, threads=1) for _ in range(2)]
    pack = start("ours", size, args, threads=2, pack=2)
    alone = start("ours", size, args, threads=2)
    peer = start("peer", size, args, threads=2)
    spent: dict[str, list[float]] = {
        "two processes": [],
        "a pack": [],
        "ours in turn": [],
        "peer in turn": [],
    }
    for _ in range(args.rounds):
        began = time.perf_counter()
        for process in pair:
            ask(process, args.steps)
        for process in pair:
            answer(process)
        spent["two processes"].append(time.perf_counter() - began)
        for name, process, n_steps in (
            ("a pack", pack, 1),
            ("ours in turn", alone, 2),
            ("peer in turn", peer, 2),
        ):
            ask(process, n_steps * args.steps)
            spent[name].append(answer(process)[1])
    stop([*pair, pack, alone, peer])
    for name in ("two processes", "a pack"):
        ratios = {
            other: statistics.median(b / a for a, b in zip(spent[name], spent[other]))
            for other in ("ours in turn", "peer in turn")
        }
        print(f"{size:>5}  {name:<14} " + ", ".join(f"{r:.2f} x {other}" for other, r in ratios.items()))


def stop(processes: Iterable[Any]) -> None:
    for process in processes:
        process.stdin.close()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["1.3M", "5.8M", "21M"], choices=list(SIZES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3, help="steps per turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pack", type=int, default=1, help="models stacked in one packed run (GPU)")
    parser.add_argument("--aggregate", action="store_true")
    parser.add_argument("--worker", choices=["ours", *PEERS], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args)
        return
    for size in args.sizes:
        aggregate(size, args) if args.aggregate else compare(size, args)


if __name__ == "__main__":
    main()
