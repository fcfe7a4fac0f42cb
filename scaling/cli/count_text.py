"""How `scaling count` reads on a terminal."""

from __future__ import annotations

import click

from scaling.accounting import Memory, ParamCounts, count_params
from scaling.accounting.summary import ModelCost
from scaling.architecture import PRESETS, Architecture
from scaling.cli.output import heading, paragraph, print_fields, print_json, print_table
from scaling.units import format_bytes, format_flops, format_params, format_percent, format_tokens

MEANING = {
    "exact_causal": "matmul weights, attention pairs that exist",
    "palm": "the same with masked pairs, 12 L a T",
    "kaplan": "weights of the blocks only",
    "six_n": "6 x all parameters",
    "six_n_head": "6 x (non-embedding + head matrix)",
    "deepseek": "72 L d^2 + 12 L d T",
    "chinchilla": "Hoffmann et al., appendix F",
    "chinchilla_head": "the same without the embedding",
    "chinchilla_body": "and without the head",
}
LINES = {  # line of Memory → its heading
    "weights_bytes": "weights",
    "gradients_bytes": "gradients",
    "optimizer_bytes": "optimizer",
    "activations_bytes": "activ.",
    "logits_bytes": "logits",
    "communication_bytes": "buffers",
    "framework_bytes": "framework",
    "total_bytes": "total",
}


def print_cost(cost: ModelCost, name: str | None) -> None:
    """Everything `scaling count` says about one model."""
    click.echo(f"{name or 'model'}: {describe(cost.architecture)}")
    heading("Parameters")
    _print_params(cost.params, cost.architecture)
    _print_mixture(cost.params, cost.architecture)
    _print_flops(cost)
    _print_training_memory(cost)
    _print_inference_memory(cost)


def print_presets(as_json: bool) -> None:
    """The presets with their exact counts."""
    if as_json:
        counts = {n: count_params(a) for n, a in PRESETS.items()}
        rows = [
            {"name": n, **a.to_dict(), "n_params": counts[n].total, "n_params_active": counts[n].active}
            for n, a in PRESETS.items()
        ]
        print_json({"presets": rows})
        return
    print_table(
        ["preset", "kind", "layers", "width", "heads", "d_ff", "vocab", "context", "parameters"],
        [
            [
                name, a.kind.replace("encoder_decoder", "enc-dec"),
                f"{a.n_layers}+{a.n_decoder_layers}" if a.n_decoder_layers else f"{a.n_layers}",
                f"{a.d_model:,}", f"{a.n_heads}", _d_ff(a), f"{a.vocab_size:,}", f"{a.context_length:,}",
                f"{count_params(a).total:,}",
            ]
            for name, a in PRESETS.items()
        ],
        indent="",
        left=2,
    )  # fmt: skip


def _d_ff(a: Architecture) -> str:
    return f"{a.n_experts}x{a.d_ff_expert}" if a.n_experts else f"{a.d_ff:,}"


def describe(a: Architecture) -> str:
    """One line: kind, sizes, what is special."""
    layers = f"{a.n_layers} + {a.n_decoder_layers} layers" if a.n_decoder_layers else f"{a.n_layers} layers"
    groups = f" ({a.n_kv_heads} for keys and values)" if a.n_kv_heads != a.n_heads else ""
    if a.d_latent_kv:
        groups = f" (latent of {a.d_latent_kv:,})"
    window = f" ({a.n_window_layers} layers see {a.attention_window:,} tokens)" if a.attention_window else ""
    return (
        f"{a.kind.replace('_', '-')}, {layers} of width {a.d_model:,}, {a.n_heads} heads of {a.d_head}{groups},\n"
        f"  {_describe_mlp(a)}, {a.positions} positions{window}, vocabulary {a.vocab_size:,}"
    )


def _describe_mlp(a: Architecture) -> str:
    if not a.n_experts:
        return f"{a.activation} MLP of {a.d_ff:,}"
    shared = f" and {a.n_shared_experts} shared of {a.d_ff_shared:,}" if a.n_shared_experts else ""
    dense = f",\n  MLP of {a.d_ff:,} in {a.n_dense_layers} layers" if a.n_dense_layers else ""
    used = f"{a.n_experts_per_token} of {a.n_experts} {a.activation} experts of {a.d_ff_expert:,}"
    return f"{used}{shared} a token{dense}"


def _print_params(p: ParamCounts, a: Architecture) -> None:
    rows = [
        ("token embedding", p.token_embedding, "also the head" if a.tie_embeddings and a.heads else ""),
        ("positions", p.position_embedding, ""),
        ("segments", p.segment_embedding, ""),
        ("embedding projection", p.embedding_projection, ""),
        ("attention", p.attention, ""),
        ("cross-attention", p.cross_attention, ""),
        ("MLP" if not a.n_experts else "MLP and shared experts", p.mlp, ""),
        ("experts", p.experts, f"{a.n_experts_per_token} of {a.n_experts} used a token"),
        ("router", p.router, ""),
        ("norms", p.norm, ""),
        ("heads: " + ", ".join(a.heads), p.head, ""),
    ]
    table = [[name, f"{n:,}", format_percent(n / p.total), note] for name, n, note in rows if n]
    table.append(["total", f"{p.total:,}", format_params(p.total), ""])
    if a.n_experts:
        table[-1][3] = "what memory holds"
        table.append(["active", f"{p.active:,}", format_params(p.active), "what a token passes: N of 6ND"])
    kaplan = p.active_non_embedding
    name = "non-embedding" if not a.n_experts else "active non-embedding"
    table.append([name, f"{kaplan:,}", format_params(kaplan), "Kaplan et al.'s N"])
    table.append(["matmul weights", f"{p.matmul:,}", format_params(p.matmul), "multiply every token"])
    print_table(["", "", "", ""], [[r[0], r[1].rjust(18), r[2].rjust(7), r[3]] for r in table], left=4)


def _print_mixture(p: ParamCounts, a: Architecture) -> None:
    """Which of the two counts is meant where."""
    if a.n_experts:
        paragraph(
            f"A mixture of experts: FLOPs are of the {format_params(p.active)} active parameters; weights, gradients "
            f"and optimizer of all {format_params(p.total)}; activations of what a token passes.",
            "  ",
        )


def _print_flops(cost: ModelCost) -> None:
    phases = list(next(iter(cost.flops_per_token.values())))
    heading(f"FLOPs per token, context {cost.context_length:,}")
    run = [] if cost.n_tokens is None else [f"{format_tokens(cost.n_tokens)} tokens"]
    print_table(
        ["convention", "", *phases, *run],
        [
            [name, _meaning(name, cost.architecture), *(format_flops(by_phase[p]) for p in phases)]
            + [format_flops(cost.flops[name]) for _ in run]
            for name, by_phase in cost.flops_per_token.items()
        ],
        left=2,
    )
    parts, total = cost.train_parts, cost.train_parts.total
    shares = {
        "attention projections": parts.attention_projections,
        "attention scores": parts.attention_scores,
        "MLP": parts.mlp,
        "embedding projection": parts.embedding_projection,
        "heads": parts.head,
    }
    listed = ", ".join(f"{name} {format_percent(value / total)}" for name, value in shares.items() if value)
    paragraph(f"Of exact_causal: {listed}. Train is forward and backward without recomputation.", "  ")
    if cost.architecture.kind == "encoder_decoder":
        paragraph(
            "A token passes one of the two stacks (prefill: the encoder; decode: the decoder); six_n and six_n_head "
            "count both and so about twice.",
            "  ",
        )


def _meaning(convention: str, a: Architecture) -> str:
    return MEANING[convention].replace("all", "active") if a.n_experts else MEANING[convention]


def _print_training_memory(cost: ModelCost) -> None:
    heading(f"Training memory of one device, micro-batch {cost.batch_size:,} x {cost.context_length:,}")
    print_table(
        ["devices", *LINES.values()],
        [
            [
                _setup(row.n_devices, row.strategy, row.recomputation, cost.tensor_parallel),
                *(_bytes(row.memory, line) for line in LINES),
            ]
            for row in cost.training
        ],
    )
    split = f", tensor-parallel {cost.tensor_parallel:,}" if cost.tensor_parallel > 1 else ""
    paragraph(
        f"{cost.precision}, AdamW, flash attention{split}. Full recomputation (recomp.) keeps one state a block and "
        "computes the rest again, a third more FLOPs. The framework line is assumed; fragmentation is not counted, "
        "leave 10 %.",
        "  ",
    )


def _print_inference_memory(cost: ModelCost) -> None:
    m = cost.inference
    heading(f"Inference memory of one device, 16 bits, batch {cost.batch_size:,} x {cost.context_length:,}")
    fields = [
        ("weights", m.weights_bytes),
        ("KV cache", m.kv_cache_bytes),
        ("activations", m.activations_bytes),
    ]
    fields += [("logits", m.logits_bytes), ("framework", m.framework_bytes), ("total", m.total_bytes)]
    per_token = f"  ({format_bytes(2 * cost.kv_cache_numbers_per_token)} a token)"
    print_fields(
        (name, format_bytes(value) + (per_token if name == "KV cache" else ""))
        for name, value in fields
        if value
    )


def _setup(n_devices: int, strategy: str, recomputation: str, tensor_parallel: int) -> str:
    where = f"{n_devices:,}" if n_devices == tensor_parallel else f"{n_devices:,} {strategy}"
    return f"{where}, recomp." if recomputation == "full" else where


def _bytes(memory: Memory, line: str) -> str:
    value = memory.to_dict()[line]
    return format_bytes(value) if value else "-"
