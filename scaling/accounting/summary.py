"""What a model costs, in one result, and how it reads: parameters, FLOPs in every convention, memory by strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scaling.accounting.activations import Recomputation
from scaling.accounting.flops import (
    CONVENTIONS,
    PHASES,
    Convention,
    FlopParts,
    Phase,
    flop_parts,
    flops_per_token,
    whole_lengths,
)
from scaling.accounting.memory import (
    STRATEGIES,
    Memory,
    Strategy,
    count_kv_cache,
    estimate_inference_memory,
    estimate_memory,
)
from scaling.accounting.params import ParamCounts, count_params
from scaling.architecture import Architecture
from scaling.blocks import Blocks, Fields, Heading, Record, Shown, Table, Text
from scaling.errors import UsageError
from scaling.jsonable import fields_of, jsonable
from scaling.translation import tr
from scaling.units import format_bytes, format_flops, format_params, format_percent, format_tokens

PLAIN_STACK_ONLY: tuple[Convention, ...] = ("deepseek", "chinchilla", "chinchilla_head", "chinchilla_body")


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """Training memory of one device in one set-up."""

    n_devices: int
    strategy: Strategy
    recomputation: Recomputation
    memory: Memory

    def to_dict(self) -> dict[str, Any]:
        return fields_of(self, leave_out=("memory",)) | self.memory.to_dict()


@dataclass(frozen=True, kw_only=True)
class ModelCost(Shown):
    """What a model costs.

    Args:
        name: of a preset or file; None for sizes given by hand.
        flops_per_token: convention → phase → FLOPs of a token, averaged over a sequence.
        flops: convention → training FLOPs of `n_tokens`; empty without them.
        kv_cache_numbers_per_token: keys and values that one more token adds, of one sequence.
        notes: what its file leaves out or leaves to be known.
    """

    name: str | None = None
    architecture: Architecture
    context_length: int
    batch_size: int
    n_tokens: float | None
    precision: str
    tensor_parallel: int
    params: ParamCounts
    flops_per_token: dict[Convention, dict[Phase, float]]
    train_parts: FlopParts
    flops: dict[Convention, float]
    training: tuple[TrainingMemory, ...]
    inference: Memory
    kv_cache_numbers_per_token: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The contract of `scaling count --json`; every number unrounded, bytes on one device."""
        return fields_of(self, leave_out=("train_parts", "training", "inference")) | {
            "train_flops_per_token_by_part": fields_of(self.train_parts, also=("total",)),
            "memory": jsonable({"training": self.training, "inference": self.inference}),
        }

    def records(self) -> list[Record]:
        """One row: parameters, FLOPs a token and in training by convention, bytes of memory on one device."""
        params = {f"n_params_{part}": n for part, n in self.params._asdict().items()}
        per_token = {f"train_flops_per_token_{c}": by["train"] for c, by in self.flops_per_token.items()}
        memory = {
            f"training_memory_bytes_{row.strategy}_{row.recomputation}_{row.n_devices}": row.memory.total_bytes
            for row in self.training
        }
        return [
            {
                "name": self.name,
                "n_params": self.params.total,
                "n_params_non_embedding": self.params.non_embedding,
                "n_tokens": self.n_tokens,
                "context_length": self.context_length,
                **params,
                **per_token,
                **{f"train_flops_{c}": flops for c, flops in self.flops.items()},
                **memory,
                "inference_memory_bytes": self.inference.total_bytes,
            }
        ]

    def summary(self) -> Blocks:
        """The model in a line, then its parameters, FLOPs and memory."""
        return (
            Text(f"{self.name or tr('model')}: {_describe(self.architecture)}"),
            *_params_blocks(self.params, self.architecture),
            *_flops_blocks(self),
            *_training_blocks(self),
            *_inference_blocks(self),
        )


def summarize_cost(
    architecture: Architecture,
    *,
    context_length: int | None = None,
    batch_size: int = 1,
    n_tokens: float | None = None,
    n_devices: int = 8,
    precision: str = "bf16_mixed",
    tensor_parallel: int = 1,
    name: str | None = None,
    notes: tuple[str, ...] = (),
) -> ModelCost:
    """Count everything at once.

    Args:
        batch_size: sequences in a micro-batch of one replica; in inference, sequences at once.
        n_tokens: of a training run, for its FLOPs.
        n_devices: of the sharded rows; the first row is the least number of devices that tensor_parallel allows.
    """
    if n_tokens is not None and not n_tokens > 0:
        raise UsageError(f"n_tokens must be > 0, got {n_tokens}.")
    a = architecture
    context, _ = whole_lengths(a, context_length, None)
    plain = a.kind != "encoder_decoder" and not a.n_experts and not a.d_latent_kv
    covered = [c for c in CONVENTIONS if plain or c not in PLAIN_STACK_ONLY]
    phases = [p for p in PHASES if a.kind != "encoder" or p != "decode"]
    per_token = {
        c: {p: flops_per_token(a, phase=p, convention=c, context_length=context) for p in phases}
        for c in covered
    }
    one_replica: dict[str, Any] = {
        "batch_size": batch_size,
        "context_length": context,
        "tensor_parallel": tensor_parallel,
    }

    def row(devices: int, **setup: Any) -> TrainingMemory:
        memory = estimate_memory(a, n_devices=devices, precision=precision, **setup, **one_replica)
        return TrainingMemory(n_devices=devices, memory=memory, **setup)

    rows = [row(tensor_parallel, strategy="ddp", recomputation=r) for r in ("none", "full")]
    if n_devices > tensor_parallel:
        rows += [row(n_devices, strategy=strategy, recomputation="none") for strategy in STRATEGIES]
        rows += [row(n_devices, strategy="fsdp", recomputation="full")]
    return ModelCost(
        name=name,
        notes=notes,
        architecture=a,
        context_length=context,
        batch_size=batch_size,
        n_tokens=n_tokens,
        precision=precision,
        tensor_parallel=tensor_parallel,
        params=count_params(a),
        flops_per_token=per_token,
        train_parts=flop_parts(a, context_length=context),
        flops={} if n_tokens is None else {c: n_tokens * per_token[c]["train"] for c in covered},
        training=tuple(rows),
        inference=estimate_inference_memory(a, **one_replica),
        kv_cache_numbers_per_token=count_kv_cache(a, context_length=1) // (1 + (a.kind == "encoder_decoder")),
    )


# --- how it reads ---


def _describe(a: Architecture) -> str:
    """Kind, sizes, what is special."""
    n_layers = f"{a.n_layers} + {a.n_decoder_layers}" if a.n_decoder_layers else f"{a.n_layers}"
    groups = tr(" ({n} for keys and values)", n=a.n_kv_heads) if a.n_kv_heads != a.n_heads else ""
    if a.d_latent_kv:
        groups = tr(" (latent of {n:,})", n=a.d_latent_kv)
    window = tr(" ({a.n_window_layers} layers see {a.attention_window:,} tokens)", a=a)
    attention = tr("{a.n_heads} heads of {a.d_head}{groups}", a=a, groups=groups)
    return tr(
        "{kind}, {n_layers} layers of width {a.d_model:,}, {attention}, {mlp}, {a.positions} positions{window}, "
        "vocabulary {a.vocab_size:,}",
        a=a,
        kind=a.kind.replace("_", "-"),
        n_layers=n_layers,
        attention=attention,
        mlp=_describe_mlp(a),
        window=window if a.attention_window else "",
    )


def _describe_mlp(a: Architecture) -> str:
    if not a.n_experts:
        return tr("{a.activation} MLP of {a.d_ff:,}", a=a)
    shared = tr(" and {a.n_shared_experts} shared of {a.d_ff_shared:,}", a=a) if a.n_shared_experts else ""
    dense = tr(", MLP of {a.d_ff:,} in {a.n_dense_layers} layers", a=a) if a.n_dense_layers else ""
    return tr(
        "{a.n_experts_per_token} of {a.n_experts} {a.activation} experts of {a.d_ff_expert:,}{shared} a token{dense}",
        a=a,
        shared=shared,
        dense=dense,
    )


def _params_blocks(p: ParamCounts, a: Architecture) -> Blocks:
    used = tr("{used} of {n} used a token", used=a.n_experts_per_token, n=a.n_experts)
    tied = tr("also the head") if a.tie_embeddings and a.heads else ""
    parts = [
        (tr("token embedding"), p.token_embedding, tied),
        (tr("positions"), p.position_embedding, ""),
        (tr("segments"), p.segment_embedding, ""),
        (tr("embedding projection"), p.embedding_projection, ""),
        (tr("attention"), p.attention, ""),
        (tr("cross-attention"), p.cross_attention, ""),
        (tr("MLP and shared experts") if a.n_experts else tr("MLP"), p.mlp, ""),
        (tr("experts"), p.experts, used),
        (tr("router"), p.router, ""),
        (tr("norms"), p.norm, ""),
        (tr("heads: {names}", names=", ".join(a.heads)), p.head, ""),
    ]
    sums = [(tr("total"), p.total, tr("what memory holds") if a.n_experts else "")]
    if a.n_experts:
        sums.append((tr("active"), p.active, tr("what a token passes: N of 6ND")))
    name = tr("active non-embedding") if a.n_experts else tr("non-embedding")
    sums.append((name, p.active_non_embedding, tr("Kaplan et al.'s N")))
    sums.append((tr("matmul weights"), p.matmul, tr("multiply every token")))
    rows = [(name, f"{n:,}", format_percent(n / p.total), remark) for name, n, remark in parts if n]
    rows += [(name, f"{n:,}", format_params(n), remark) for name, n, remark in sums]
    table = Table(headers=("", "", "", ""), rows=rows, remarks=1)
    which = tr(
        "A mixture of experts: FLOPs are of the {active} active parameters; weights, gradients and optimizer of all "
        "{total}; activations of what a token passes.",
        active=format_params(p.active),
        total=format_params(p.total),
    )
    return (Heading(tr("Parameters")), table, *((Text(which, indent=2),) if a.n_experts else ()))


def _flops_blocks(cost: ModelCost) -> Blocks:
    phases = list(next(iter(cost.flops_per_token.values())))
    run = [] if cost.n_tokens is None else [tr("{n} tokens", n=format_tokens(cost.n_tokens))]
    meaning = _meaning(cost.architecture)
    rows = [
        [name, meaning[name], *(format_flops(by_phase[p]) for p in phases)]
        + [format_flops(cost.flops[name]) for _ in run]
        for name, by_phase in cost.flops_per_token.items()
    ]
    said = tr(
        "Of exact_causal: {shares}. Train is forward and backward without recomputation.",
        shares=_shares(cost.train_parts),
    )
    two_stacks = tr(
        "A token passes one of the two stacks (prefill: the encoder; decode: the decoder); six_n and six_n_head "
        "count both and so about twice."
    )
    return (
        Heading(tr("FLOPs per token, context {n:,}", n=cost.context_length)),
        Table(headers=[tr("convention"), "", *phases, *run], rows=rows, left=2),
        Text(said, indent=2),
        *((Text(two_stacks, indent=2),) if cost.architecture.kind == "encoder_decoder" else ()),
    )


def _meaning(a: Architecture) -> dict[Convention, str]:
    return {
        "exact_causal": tr("matmul weights, attention pairs that exist"),
        "palm": tr("the same with masked pairs, 12 L a T"),
        "kaplan": tr("weights of the blocks only"),
        "six_n": tr("6 x active parameters") if a.n_experts else tr("6 x all parameters"),
        "six_n_head": tr("6 x (non-embedding + head matrix)"),
        "deepseek": "72 L d^2 + 12 L d T",
        "chinchilla": tr("Hoffmann et al., appendix F"),
        "chinchilla_head": tr("the same without the embedding"),
        "chinchilla_body": tr("and without the head"),
    }


def _shares(parts: FlopParts) -> str:
    values = {
        tr("attention projections"): parts.attention_projections,
        tr("attention scores"): parts.attention_scores,
        tr("MLP"): parts.mlp,
        tr("embedding projection"): parts.embedding_projection,
        tr("heads"): parts.head,
    }
    return ", ".join(f"{name} {format_percent(n / parts.total)}" for name, n in values.items() if n)


def _training_blocks(cost: ModelCost) -> Blocks:
    columns = {
        "weights_bytes": tr("weights"),
        "gradients_bytes": tr("gradients"),
        "optimizer_bytes": tr("optimizer"),
        "activations_bytes": tr("activ."),
        "logits_bytes": tr("logits"),
        "communication_bytes": tr("buffers"),
        "framework_bytes": tr("framework"),
        "total_bytes": tr("total"),
    }
    rows = [
        [_setup(row, cost.tensor_parallel), *(_bytes(getattr(row.memory, line)) for line in columns)]
        for row in cost.training
    ]
    split = tr(", tensor-parallel {n:,}", n=cost.tensor_parallel) if cost.tensor_parallel > 1 else ""
    said = tr(
        "{precision}, AdamW, flash attention{split}. Full recomputation (recomp.) keeps one state a block and computes "
        "the rest again, a third more FLOPs. The framework line is assumed; fragmentation is not counted, leave 10 %.",
        precision=cost.precision,
        split=split,
    )
    heading = tr(
        "Training memory of one device, micro-batch {cost.batch_size:,} x {cost.context_length:,}", cost=cost
    )
    return (
        Heading(heading),
        Table(headers=[tr("devices"), *columns.values()], rows=rows),
        Text(said, indent=2),
    )


def _setup(row: TrainingMemory, tensor_parallel: int) -> str:
    where = f"{row.n_devices:,}" if row.n_devices == tensor_parallel else f"{row.n_devices:,} {row.strategy}"
    return tr("{where}, recomp.", where=where) if row.recomputation == "full" else where


def _bytes(value: int) -> str:
    return format_bytes(value) if value else "-"


def _inference_blocks(cost: ModelCost) -> Blocks:
    m = cost.inference
    lines = {
        tr("weights"): m.weights_bytes,
        tr("KV cache"): m.kv_cache_bytes,
        tr("activations"): m.activations_bytes,
        tr("logits"): m.logits_bytes,
        tr("framework"): m.framework_bytes,
        tr("total"): m.total_bytes,
    }
    texts = {name: format_bytes(n) for name, n in lines.items() if n}
    if m.kv_cache_bytes:
        a_token = format_bytes(2 * cost.kv_cache_numbers_per_token)
        texts[tr("KV cache")] += tr("  ({a_token} a token)", a_token=a_token)
    heading = tr(
        "Inference memory of one device, 16 bits, batch {cost.batch_size:,} x {cost.context_length:,}",
        cost=cost,
    )
    return (Heading(heading), Fields(list(texts.items())))
