"""What a model costs, in one result, and how it reads: parameters, FLOPs in every convention, memory by strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
from scaling.blocks import (
    Blocks,
    Fields,
    Record,
    Section,
    Shown,
    Table,
    Text,
    doubts_section,
    first_doubts,
    next_step,
)
from scaling.errors import UsageError
from scaling.findings import Finding, note
from scaling.jsonable import fields_of, jsonable
from scaling.translation import tr, tr_n
from scaling.units import format_bytes, format_flops, format_params, format_percent, format_tokens

if TYPE_CHECKING:
    pass

LEAST_SHARE = 0.01  # of the parameters, for a kind to stand on the first screen
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
    compiled: bool = False
    fused_loss: bool = False
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

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The notes, for a reader."""
        return tuple(note(code="model-file", message=f"{text}.") for text in self.notes)

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
                "n_params_active": self.params.active,
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
        """The count in a line; of what, what it costs to train and to run; by section every number behind it."""
        batch = tr("batch {cost.batch_size:,} x {cost.context_length:,}", cost=self)
        return (
            Text(_headline(self)),
            Text(_describe(self.architecture)),
            *(() if self.notes else (Text(""),)),
            Fields(_first_fields(self)),
            *first_doubts(self.findings),
            Section("parameters", tr("Parameters"), lambda: _params_blocks(self)),
            Section(
                "flops",
                tr("FLOPs per token, context {n:,}", n=self.context_length),
                lambda: _flops_blocks(self),
            ),
            Section(
                "training",
                tr("Training memory of one device, micro-{batch}", batch=batch),
                lambda: _training_blocks(self),
            ),
            Section(
                "inference",
                tr("Inference memory of one device, 16 bits, {batch}", batch=batch),
                lambda: _inference_blocks(self),
            ),
            *doubts_section(self.findings),
            *_next(self),
        )


def sizes_row(a: Architecture, params: ParamCounts) -> dict[str, Any]:
    """An architecture and its counts as a row of a table."""
    sizes = {name: " ".join(v) if isinstance(v, list) else v for name, v in a.to_dict().items()}
    kinds = {f"n_params_{kind}": n for kind, n in params.to_dict().items() if kind not in ("total", "idle")}
    return {"n_params": params.total, **sizes, **kinds}


def summarize_cost(
    architecture: Architecture,
    *,
    context_length: int | None = None,
    batch_size: int = 1,
    n_tokens: float | None = None,
    n_devices: int = 8,
    precision: str = "bf16_mixed",
    tensor_parallel: int = 1,
    compiled: bool = False,
    fused_loss: bool = False,
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
    loss: dict[str, Any] = {"compiled": compiled, "fused_loss": fused_loss}

    def row(devices: int, **setup: Any) -> TrainingMemory:
        memory = estimate_memory(a, n_devices=devices, precision=precision, **setup, **one_replica, **loss)
        return TrainingMemory(n_devices=devices, memory=memory, **setup)

    rows = [row(tensor_parallel, strategy="ddp", recomputation=r) for r in ("none", "full")]
    if n_devices > tensor_parallel:
        rows += [row(n_devices, strategy=strategy, recomputation="none") for strategy in STRATEGIES]
        rows += [row(n_devices, strategy="fsdp", recomputation=r) for r in ("selective", "full")]
    return ModelCost(
        name=name,
        notes=notes,
        architecture=a,
        context_length=context,
        batch_size=batch_size,
        n_tokens=n_tokens,
        precision=precision,
        tensor_parallel=tensor_parallel,
        **loss,
        params=count_params(a),
        flops_per_token=per_token,
        train_parts=flop_parts(a, context_length=context),
        flops={} if n_tokens is None else {c: n_tokens * per_token[c]["train"] for c in covered},
        training=tuple(rows),
        inference=estimate_inference_memory(a, **one_replica),
        kv_cache_numbers_per_token=count_kv_cache(a, context_length=1) // (1 + (a.kind == "encoder_decoder")),
    )


# --- how it reads ---


def _headline(cost: ModelCost) -> str:
    p, name = cost.params, (cost.name or tr("model")).rpartition("/")[2]
    if cost.architecture.n_experts:
        return tr(
            "{name}: {total} parameters ({p.total:,}), {active} of them active.",
            name=name, p=p, total=format_params(p.total), active=format_params(p.active),
        )  # fmt: skip
    return tr(
        "{name}: {total} parameters ({p.total:,}); {rest} without the embeddings.",
        name=name, p=p, total=format_params(p.total), rest=format_params(p.non_embedding),
    )  # fmt: skip


def _first_fields(cost: ModelCost) -> list[tuple[str, str]]:
    """What a first screen says: each number as the section behind it counts it, the usual set-up only."""
    shares = {name: n / cost.params.total for name, n in cost.params.parts().items()}
    largest = sorted((name for name in shares if shares[name] >= LEAST_SHARE), key=lambda name: -shares[name])
    parts = ", ".join(f"{name} {format_percent(shares[name])}" for name in largest)
    return [
        (tr("made of"), parts),
        (tr("training"), _compute(cost)),
        ("", _to_train(cost)),
        (tr("running"), _to_run(cost)),
    ]


def _compute(cost: ModelCost) -> str:
    told = tr("{flops} FLOPs a token", flops=format_flops(cost.flops_per_token["exact_causal"]["train"]))
    counts = {convention: by_phase["train"] for convention, by_phase in cost.flops_per_token.items()}
    if cost.n_tokens is not None:
        counts = cost.flops
        tokens, flops = format_tokens(cost.n_tokens), format_flops(counts["exact_causal"])
        told = tr("{flops} FLOPs for {tokens} tokens, {each}", flops=flops, tokens=tokens, each=told)
    rule, low, high = (format_flops(n) for n in (counts["six_n"], min(counts.values()), max(counts.values())))
    return told + tr(" (6ND: {rule}; papers count {low} to {high})", rule=rule, low=low, high=high)


def _to_train(cost: ModelCost) -> str:
    """Memory of the plain set-up, and of the one that shares everything out."""
    plain = cost.training[0]
    told = tr(
        "{bytes} on {devices} for {cost.batch_size:,} x {cost.context_length:,} tokens",
        bytes=format_bytes(plain.memory.total_bytes), cost=cost,
        devices=tr_n("one device", "each of {n} devices", plain.n_devices),
    )  # fmt: skip
    if shared := [r for r in cost.training if r.strategy == "fsdp" and r.recomputation == "none"]:
        each = format_bytes(shared[0].memory.total_bytes)
        told += tr("; {each} on each of {row.n_devices:,} that share the weights", each=each, row=shared[0])
    return told


def _to_run(cost: ModelCost) -> str:
    told = format_bytes(cost.inference.total_bytes)
    if cache := cost.inference.kv_cache_bytes:
        told += tr(
            ", {cache} of it the keys and values of {cost.context_length:,} tokens",
            cache=format_bytes(cache), cost=cost,
        )  # fmt: skip
    phase: Phase = "decode" if cost.architecture.kind != "encoder" else "prefill"
    flops = format_flops(cost.flops_per_token["exact_causal"][phase])
    return told + tr("; {flops} FLOPs a token", flops=flops)


def _next(cost: ModelCost) -> Blocks:
    """How far from the optimum a decoder is: laws of language modelling are of decoders."""
    if cost.architecture.kind != "decoder":
        return ()
    n = format_params(cost.params.active).replace(" ", "")
    if cost.n_tokens is None:
        return next_step(f"scaling plan --params {n}")
    tokens = format_tokens(cost.n_tokens).replace(" ", "")
    return next_step(f"scaling audit --params {n} --tokens {tokens}")


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


def _params_blocks(cost: ModelCost) -> Blocks:
    a, p = cost.architecture, cost.params
    tied = tr("The token embedding is also the head.") if a.tie_embeddings and a.heads else ""
    heads = tr("Heads: {names}.", names=", ".join(a.heads)) if a.heads else ""
    which = tr(
        "A token passes {used} of {n} experts: FLOPs are of the {active} active parameters; weights, gradients and "
        "optimizer of all {total}; activations of what a token passes.",
        used=a.n_experts_per_token, n=a.n_experts, active=format_params(p.active), total=format_params(p.total),
    )  # fmt: skip
    said = [text for text in (heads, tied, which if a.n_experts else "") if text]
    return (p.table(), *((Text(" ".join(said), indent=2),) if said else ()))


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
        "{precision}, AdamW, flash attention{split}{how}. Full recomputation (recomp.) keeps one state a block and "
        "computes the rest again, a third more FLOPs; selective keeps every other matrix product, as torchtitan does. "
        "The framework line is assumed; fragmentation is not counted, leave 10 %.",
        precision=cost.precision,
        split=split,
        how=(tr(", compiled") if cost.compiled else "") + (tr(", fused loss") if cost.fused_loss else ""),
    )
    return (
        Table(headers=[tr("devices"), *columns.values()], rows=rows),
        Text(said, indent=2),
    )


def _setup(row: TrainingMemory, tensor_parallel: int) -> str:
    where = f"{row.n_devices:,}" if row.n_devices == tensor_parallel else f"{row.n_devices:,} {row.strategy}"
    if row.recomputation == "selective":
        return tr("{where}, selective", where=where)
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
    return (Fields(list(texts.items())),)
