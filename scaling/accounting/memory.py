"""Memory of one device, in training and in inference, line by line.

Model states are exact (ZeRO, Rajbhandari et al. 2019, arXiv:1910.02054, section 3.1). Activations are what autograd
has to keep (Korthikanti et al. 2022, arXiv:2205.05198, section 4: s b h (34 + 5 a s / h) bytes a layer, derived here
tensor by tensor for any width, gate, grouped queries and precision). Logits, communication buffers and the
framework are lines of their own: calculators that leave them out say a tenth of what a run needs.

The sum takes every line at its own peak, which is right at the start of the backward pass with gradients kept from
an earlier micro-batch, and a little high otherwise. Not counted: fragmentation of the allocator (5-20 % is usual),
temporaries of an unfused optimizer step (4 bytes a parameter), a second copy of the embedding's gradient (which
decides only for micro-batches of fewer tokens than d_model), and whatever else the program holds.

Checked against torch on the CPU (tests): bytes that autograd saves within 1.2 %, live bytes at the peak of a whole
training step within 1 %, in float32 and under autocast. Against eight peaks that torchtitan published for Llama 3.1
(scaling/reference/memory_measured.csv): -2 to +8 %, with tensor parallelism -11 %; each of 52 configurations that
llm-foundry ran on 80 GB is estimated at 91 % of it or less. ZeRO buffers and the framework line follow documented
defaults and were not measured by us.

A mixture of experts keeps the states of all its experts and the activations of those a token passes, evenly spread;
expert parallelism is not counted, nor a capacity that pads the experts' batches.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from scaling.accounting.activations import FLOAT32_BYTES, LayerBytes, Precision, Recomputation
from scaling.accounting.flops import whole_lengths
from scaling.accounting.params import HOW, ParamCounts, count_params
from scaling.architecture import Architecture
from scaling.arguments import require_flags, require_kind, require_known, require_whole
from scaling.errors import UsageError
from scaling.jsonable import fields_of

Strategy = Literal["ddp", "zero1", "zero2", "fsdp"]
Attention = Literal["flash", "materialised"]
Optimizer = Literal["adamw", "muon", "sgd"]

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
RECOMPUTATIONS: tuple[Recomputation, ...] = get_args(Recomputation)

# torch's cross-entropy in float32: log-probabilities, their gradient, the gradient of the logits
LOSS_COPIES = 3
COMPILED_LOSS_COPIES = (
    2  # torch.compile fuses the first away; the gradient is cast once more to the logits' type
)
DEEPSPEED_BUCKET_ELEMENTS = 500_000_000  # default reduce_ and allgather_bucket_size, without overlap_comm
# CUDA context, library workspaces, NCCL: an assumption, 0.5-1.5 GiB is common; 0 on a CPU
FRAMEWORK_BYTES = 2**30

PRECISIONS: dict[str, Precision] = {
    # bf16 weights and gradients, float32 master copy and states: 16 bytes a parameter with AdamW (ZeRO, K = 12)
    "bf16_mixed": Precision(weights=2, gradients=2, master=4, state=4, cast=0, activation=2, residual=2),
    # torch.autocast: float32 weights and residual stream, bf16 where matmuls happen. Under fsdp the gathered weights
    # are bf16 instead (FSDP2's param_dtype), and so is the residual stream
    "bf16_autocast": Precision(weights=4, gradients=4, master=0, state=4, cast=2, activation=2, residual=4),
    "bf16": Precision(weights=2, gradients=2, master=0, state=2, cast=0, activation=2, residual=2),
    "fp32": Precision(weights=4, gradients=4, master=0, state=4, cast=0, activation=4, residual=4),
}


class Memory(NamedTuple):
    """Bytes on one device, each line at its own peak. Lines that do not apply are 0."""

    weights_bytes: int
    gradients_bytes: int = 0
    optimizer_bytes: int = 0
    activations_bytes: int = 0
    logits_bytes: int = 0
    kv_cache_bytes: int = 0
    communication_bytes: int = 0
    framework_bytes: int = 0

    @property
    def model_states_bytes(self) -> int:
        """Weights, gradients and optimizer: what ZeRO partitions."""
        return self.weights_bytes + self.gradients_bytes + self.optimizer_bytes

    @property
    def total_bytes(self) -> int:
        """Sum of the lines."""
        return sum(self)

    def to_dict(self) -> dict[str, int]:
        """Every line and the total, ready for JSON."""
        return fields_of(self, also=("total_bytes",))


def estimate_memory(
    architecture: Architecture,
    *,
    batch_size: int = 1,
    context_length: int | None = None,
    decoder_length: int | None = None,
    n_devices: int = 1,
    strategy: Strategy = "ddp",
    tensor_parallel: int = 1,
    precision: str = "bf16_mixed",
    optimizer: Optimizer = "adamw",
    recomputation: Recomputation = "none",
    attention: Attention = "flash",
    dropout: bool = False,
    loss_chunk_tokens: int | None = None,
    fused_loss: bool = False,
    compiled: bool = False,
    framework_bytes: int = FRAMEWORK_BYTES,
) -> Memory:
    """Peak memory of one device in training.

    Args:
        batch_size: sequences in one micro-batch of one replica, not the global batch.
        n_devices: all devices; n_devices / tensor_parallel replicas share the model states as `strategy` says.
        strategy: ddp replicates everything; zero1 splits the optimizer, zero2 also gradients, fsdp (ZeRO-3) also
            weights.
        tensor_parallel: devices that split every layer by heads and MLP columns, with sequence parallelism.
        precision: a name of PRECISIONS.
        optimizer: states a parameter: adamw 2; muon 1 for block matrices and 2 elsewhere; sgd 1 (momentum).
        recomputation: "none"; "attention", Megatron's selective recomputation, does not keep what grows with the
            square of the context, as flash attention never does; "selective", torchtitan's, keeps the input of each
            block, the output of its attention and of every other matrix product; "full" keeps the inputs alone. The
            last two hold the rest of one block at a time.
        attention: "materialised" keeps n_heads T numbers a token and layer, the softmax (more, if it is in float32).
        loss_chunk_tokens: tokens whose logits exist at once, where the loss is computed in pieces; default all.
        fused_loss: a kernel that keeps the logits and their gradient in the type of activations, and no softmax.
        compiled: by torch.compile, which fuses part of the loss (not over tensor parallelism) and of gated MLPs.
    Returns:
        Memory, in bytes.
    Raises:
        UsageError: a count below 1, devices that do not divide, heads that cannot be split.
    Source: arXiv:1910.02054, arXiv:2205.05198. Ours differs: no dropout masks unless asked; gated and grouped-query
        layers; logits as torch's own cross-entropy holds them (three float32 copies).
    Example:
        >>> import scaling
        >>> memory = scaling.estimate_memory(scaling.find_preset("gpt2"), batch_size=8)
        >>> f"{memory.total_bytes / 1e9:.1f} GB, {memory.model_states_bytes / 1e9:.1f} of them states"
        '11.3 GB, 2.0 of them states'
    """
    require_kind("architecture", architecture, Architecture, HOW)
    require_flags(dropout=dropout, fused_loss=fused_loss, compiled=compiled)
    require_whole(framework_bytes=framework_bytes)
    _check_choices(strategy=strategy, recomputation=recomputation, attention=attention, optimizer=optimizer)
    recipe = _recipe(precision, strategy)
    _check_counts(batch_size=batch_size, n_devices=n_devices, tensor_parallel=tensor_parallel)
    context, decoder = whole_lengths(architecture, context_length, decoder_length)
    if n_devices % tensor_parallel:
        raise UsageError(f"tensor_parallel {tensor_parallel} must divide n_devices {n_devices}.")
    local = split_by_tensor_parallel(architecture, tensor_parallel)
    counts = count_params(local)
    replicas = n_devices // tensor_parallel
    layer = LayerBytes(
        architecture=local,
        split=tensor_parallel,
        recipe=recipe,
        flash=attention == "flash",
        dropout=dropout,
        compiled=compiled,
    )
    if loss_chunk_tokens is not None:
        _check_counts(loss_chunk_tokens=loss_chunk_tokens)
    n_logits = batch_size * (decoder if local.kind == "encoder_decoder" else context)
    return Memory(
        weights_bytes=_weights(counts, recipe, replicas, strategy),
        gradients_bytes=recipe.gradients * _share(counts.total, replicas, strategy in ("zero2", "fsdp")),
        optimizer_bytes=_share(_optimizer(counts, recipe, optimizer), replicas, strategy != "ddp"),
        activations_bytes=batch_size * layer.activations(context, decoder, recomputation),
        logits_bytes=min(n_logits, loss_chunk_tokens or n_logits)
        * _logit_bytes(local, recipe, fused_loss, compiled and tensor_parallel == 1),
        communication_bytes=_communication(local, counts, recipe, replicas, strategy),
        framework_bytes=framework_bytes,
    )


def estimate_inference_memory(
    architecture: Architecture,
    *,
    batch_size: int = 1,
    context_length: int | None = None,
    decoder_length: int | None = None,
    weight_bytes: float = 2,
    cache_bytes: float = 2,
    tensor_parallel: int = 1,
    framework_bytes: int = FRAMEWORK_BYTES,
) -> Memory:
    """Memory of one device that reads prompts and continues them, up to `context_length` tokens a sequence.

    Args:
        weight_bytes: 2 for bf16, 1 for 8 bits, about 0.55 for 4 bits with scales.
        cache_bytes: of one number in the KV cache.
    Returns:
        Memory: weights, KV cache, the working set of one block over the whole prompts, and logits of the last
        positions. Serving engines take the rest of the device for a larger cache.
    """
    _check_counts(batch_size=batch_size, tensor_parallel=tensor_parallel)
    for name, value in (("weight_bytes", weight_bytes), ("cache_bytes", cache_bytes)):
        if not 0 < value <= 8:
            raise UsageError(f"{name} is of one number, above 0 and at most 8, got {value}.")
    context, _ = whole_lengths(architecture, context_length, decoder_length)
    local = split_by_tensor_parallel(architecture, tensor_parallel)
    cache = count_kv_cache(local, context_length=context_length, decoder_length=decoder_length)
    inner = max(
        local.d_ff if local.n_dense_layers or not local.n_experts else 0,
        local.n_experts_per_token * local.d_ff_expert + local.n_shared_experts * local.d_ff_shared,
    )
    widest = 2 * local.d_model + max(local.d_attention + 2 * local.d_kv, (1 + local.is_gated) * inner)
    vocabulary = local.vocab_size if {"lm", "mlm"} & set(local.heads) else 0
    return Memory(
        weights_bytes=round(weight_bytes * count_params(local).total),
        activations_bytes=(4 if weight_bytes > 2 else 2) * batch_size * context * widest,
        logits_bytes=FLOAT32_BYTES * batch_size * vocabulary * (context if local.kind == "encoder" else 1),
        kv_cache_bytes=round(cache_bytes * batch_size * cache),
        framework_bytes=framework_bytes,
    )


def count_kv_cache(
    architecture: Architecture, *, context_length: int | None = None, decoder_length: int | None = None
) -> int:
    """Numbers kept for one sequence of `context_length` tokens: a key and a value a layer, token and KV head.

    Latent attention keeps the latent and the shared rotary key instead; a layer with a window no more than its window.

    An encoder_decoder keeps its decoder's own keys and values, and those of the encoder's states once a layer; an
    encoder keeps none.

    Example:
        >>> from scaling.architecture import find_preset
        >>> 2 * count_kv_cache(find_preset("llama-2-7b"), context_length=1)  # bytes a token in 16 bits
        524288
    """
    a = architecture
    context, decoder = whole_lengths(a, context_length, decoder_length)
    if a.kind == "encoder":
        return 0
    if a.kind == "decoder":
        per_token = a.d_latent_kv + a.d_head_rope if a.d_latent_kv else 2 * a.d_kv
        windowed = a.n_window_layers * min(context, a.attention_window)
        return per_token * ((a.n_layers - a.n_window_layers) * context + windowed)
    return 2 * a.n_decoder_layers * a.d_kv * (decoder + context)


def split_by_tensor_parallel(architecture: Architecture, n_devices: int) -> Architecture:
    """What one of `n_devices` holds: its heads, MLP columns and vocabulary rows; norms, row biases and positions whole.

    Key and value heads fewer than devices are held more than once, as every implementation does.
    """
    a = architecture
    if n_devices == 1:
        return a
    sparse = ["d_ff_expert", "d_ff_shared"] if a.n_experts else []
    dense = ["d_ff"] if a.n_dense_layers or not a.n_experts else []
    for name in ("n_heads", *sparse, *dense):
        if getattr(a, name) % n_devices:
            raise UsageError(f"tensor_parallel {n_devices} must divide {name} {getattr(a, name)}.")
    if a.n_kv_heads % n_devices and n_devices % a.n_kv_heads:
        raise UsageError(
            f"tensor_parallel {n_devices} must divide n_kv_heads {a.n_kv_heads}, or be its multiple."
        )
    return a.replace(
        n_heads=a.n_heads // n_devices,
        n_kv_heads=max(1, a.n_kv_heads // n_devices),
        d_head=a.d_head,
        d_ff=max(1, a.d_ff // n_devices),
        d_ff_expert=a.d_ff_expert // n_devices,
        d_ff_shared=a.d_ff_shared // n_devices,
        vocab_size=-(-a.vocab_size // n_devices),
    )


def _weights(counts: ParamCounts, recipe: Precision, replicas: int, strategy: Strategy) -> int:
    weights = recipe.weights * _share(counts.total, replicas, strategy == "fsdp")
    if (
        strategy == "fsdp" and replicas > 1
    ):  # casts only what it has gathered, which stands under communication
        return weights
    return weights + recipe.cast * min(counts.matmul + counts.idle, counts.total)


def _optimizer(counts: ParamCounts, recipe: Precision, optimizer: Optimizer) -> int:
    """Bytes of master weights and states of all parameters on one device before sharding."""
    # their few biases are counted as matrices
    matrices = counts.attention + counts.cross_attention + counts.mlp + counts.experts + counts.router
    states = {"adamw": 2 * counts.total, "muon": 2 * counts.total - matrices, "sgd": counts.total}[optimizer]
    return recipe.master * counts.total + recipe.state * states


def _logit_bytes(a: Architecture, recipe: Precision, fused: bool, compiled: bool) -> int:
    """Bytes of one token's logits and of what the loss makes of them."""
    if not {"lm", "mlm"} & set(a.heads):
        return 0
    if fused:
        return a.vocab_size * 2 * recipe.activation
    cast = recipe.activation if recipe.activation < FLOAT32_BYTES else 0
    copies = COMPILED_LOSS_COPIES * FLOAT32_BYTES + cast if compiled else LOSS_COPIES * FLOAT32_BYTES
    return a.vocab_size * (recipe.activation + copies)


def _communication(
    a: Architecture, counts: ParamCounts, recipe: Precision, replicas: int, strategy: Strategy
) -> int:
    """Buffers of the data-parallel exchange; tensor parallelism's are a few activations and are left out."""
    if replicas == 1:
        return 0
    if strategy == "ddp":  # torch's buckets copy every gradient, unless gradient_as_bucket_view
        return recipe.gradients * counts.total
    if strategy in ("zero1", "zero2"):
        return (recipe.gradients + recipe.weights) * min(counts.total, DEEPSPEED_BUCKET_ELEMENTS)
    # fsdp: the root unit stays gathered; one block in use and one prefetched; gradients of one unit to reduce
    block, root = _block_params(a), counts.embedding + counts.embedding_projection + counts.head
    working = recipe.cast or recipe.weights
    return working * (root + 2 * block) + recipe.gradients * max(root, block)


def _block_params(a: Architecture) -> int:
    """Parameters of the largest block."""
    if a.kind == "encoder_decoder":
        one = a.replace(share_stacks=False, n_layers=1, n_decoder_layers=1)
        return count_params(one.replace(n_decoder_layers=2)).total - count_params(one).total
    plain = a.replace(n_dense_layers=0, attention_window=0, n_window_layers=0)
    sparse = count_params(plain.replace(n_layers=2)).total - count_params(plain.replace(n_layers=1)).total
    if not a.n_dense_layers:
        return sparse
    dense = count_params(a).total - count_params(a.replace(n_dense_layers=a.n_dense_layers - 1)).total
    return max(sparse, sparse + dense)


def _share(count: int, replicas: int, split: bool) -> int:
    return -(-count // replicas) if split else count


def _recipe(precision: str, strategy: str) -> Precision:
    require_known("precision", precision, PRECISIONS)
    recipe = PRECISIONS[precision]
    return recipe._replace(residual=recipe.activation) if strategy == "fsdp" else recipe


def _check_choices(**choices: str) -> None:
    known = {"strategy": STRATEGIES, "recomputation": RECOMPUTATIONS}
    known |= {"attention": get_args(Attention), "optimizer": get_args(Optimizer)}
    for name, value in choices.items():
        require_known(name, value, known[name])


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{name} must be a whole number >= 1, got {value!r}.")
