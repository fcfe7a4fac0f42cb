"""What a table says of itself, compared: budgets with 6 N D, widths and vocabularies with N, losses with vocabularies.

A table that contradicts itself has been misread, or counts two things under one name; both move every result.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scaling.compute import FLOPS_PER_PARAM_TOKEN
from scaling.findings import Finding, error, warning
from scaling.runs.checks_training import CERTAIN, EXPLAINED, slips
from scaling.runs.names import ALIAS, EXPERTS, fold, fold_tail, meaning_of
from scaling.runs.rows import extent, extra_column, extra_numbers, name_rows, plain, rows_where
from scaling.runs.table import Runs
from scaling.translation import counted, tr

Array = NDArray[np.float64]

NOMINAL = math.log(1.22)  # nobody misses a nominal budget by a fifth; grids round by a few per cent
LARGEST_VOCABULARY = 262_144  # Gemma's; a model that guesses has a loss of its logarithm
SMALLEST_VOCABULARY = 200  # bytes are 256; a smaller number may count thousands
PERPLEXITY_USUAL, PERPLEXITY_MOST = 90.0, 3000.0  # of a study of small models in the middle; of any
LOSSES_VARY = 3.0  # largest to smallest loss of a study: 2; of perplexities as high as its sums, more
TWO_COUNTS_APART = 0.05  # in ln(C / 6 N D)
ONE_COUNT_WITHIN = 0.02
CUBE_OF_A_TRANSFORMER = 12.0  # N without embeddings = 12 layers width^2 (Kaplan et al. 2020, table 1)
SAY_COUNT = {
    "n_params_total": "--params-convention total",
    "n_params_active": "--params-convention active",
    "n_params_nonemb": "--params-convention non_embedding",
}
WIDTHS = (
    "d_model", "width", "hidden_size", "n_embd", "dim", "model_dim", "d_embed", "embed_dim", "hidden_dim",
)  # fmt: skip
VOCABULARIES = ("vocab_size", "n_vocab", "vocab", "vocabulary_size", "vocabulary")
EPOCHS = ("epochs", "epoch", "n_epochs", "num_epochs", "num_train_epochs", "passes", "repeats")
DATASET = {"dataset", "corpus", "data"}
WITHOUT_BUDGET = "--column budget= (in Python columns={'budget': None})."
SAME_LOSS = 0.02  # of a loss and its perplexity, each printed with three digits
EXPERTS_MET = (
    "num_experts_per_tok", "num_experts_per_token", "n_experts_per_token", "experts_per_token", "experts_per_tok",
    "top_k", "topk", "moe_top_k",
)  # fmt: skip
LAYERS = ("n_layers", "num_layers", "n_layer", "layers", "depth", "num_hidden_layers", "n_decoder_layers")


def check_claims(final: Runs, reads: frozenset[str]) -> Iterator[Finding]:
    """`final`: one row a run; `reads`: of n_params, n_tokens, flops those that the law reads."""
    yield from _loss_too_high(final)
    yield from _perplexity(final)
    if len(reads) < 2 or final.absent:
        return
    yield from _budgets(final)
    yield from _two_counts(final)
    yield from _embeddings(final)
    yield from _mixture(final)
    yield from _epochs(final)


def _loss_too_high(final: Runs) -> Iterator[Finding]:
    """No text has a loss per token above the logarithm of its vocabulary: that is a perplexity, or a sum."""
    if final.convention.loss_unit != "nats/token" or final.planned:
        return
    vocabulary, middle = _vocabulary(final), float(np.median(final.loss))
    if middle <= (limit := math.log(vocabulary)):
        return
    length = extra_numbers(final, "seq_len", "sequence_length", "context_length", "block_size", "n_ctx")
    summed = ""
    if length is not None and 1 < middle / float(np.median(length)) < limit:
        summed = tr(
            " (by the length of a sequence it is {middle})", middle=plain(middle / float(np.median(length)))
        )
    say_sum = tr(
        "it is a sum over tokens{summed}, divide it, or say --loss-unit other for exponents only",
        summed=summed,
    )
    advice, remedies = tr("If {say_sum} (in Python loss_unit=).", say_sum=say_sum), ["--loss-unit other"]
    if _may_be_perplexity(final.loss):
        advice = tr(
            "If it is a perplexity, say --loss-unit perplexity (in Python loss_unit=); if {say_sum}.",
            say_sum=say_sum,
        )
        remedies.insert(0, "--loss-unit perplexity")
    whose = tr(" of the table's vocabulary") if vocabulary != LARGEST_VOCABULARY else ""
    yield error(
        code="loss-unit",
        short=tr(
            "half of the losses are above {middle}: no loss per token; see --loss-unit", middle=plain(middle)
        ),
        message=tr(
            "half of the losses are above {middle}, and guessing among {vocabulary:,} tokens{whose} costs "
            "{limit:.3g} nats: this is no loss per token. {advice}",
            middle=plain(middle),
            vocabulary=vocabulary,
            whose=whose,
            limit=limit,
            advice=advice,
        ),
        remedies=tuple(remedies),
    )


def _vocabulary(final: Runs) -> int:
    """The largest vocabulary of the table's own column, where that is a plausible one; else the largest known."""
    sizes = _numbers(final, VOCABULARIES)
    if sizes is None or not bool(np.all((sizes >= SMALLEST_VOCABULARY) & (sizes <= LARGEST_VOCABULARY))):
        return LARGEST_VOCABULARY
    return int(sizes.max())


def _may_be_perplexity(loss: Array) -> bool:
    """Whether the logarithms could be losses: a sum over many tokens is large, and varies by no more than a loss."""
    low, middle, high = np.percentile(loss, [5, 50, 95])
    return bool(middle < PERPLEXITY_USUAL or (middle < PERPLEXITY_MOST and high > LOSSES_VARY * low > 0))


def _budgets(final: Runs) -> Iterator[Finding]:
    """Nominal budgets against 6 N D: where they differ by size, N is not the count that the budgets were made with."""
    of_budgets = final.budget is not None and np.array_equal(final.flops, final.budget)
    if final.budget is None or not (final.convention.flops == "6ND" or of_budgets):
        return  # with FLOPs of its own beside the budgets, `flops-disagree` compares those
    with np.errstate(all="ignore"):
        ratio = FLOPS_PER_PARAM_TOKEN * final.n_params * final.n_tokens / final.budget
    off = np.abs(np.log(ratio)) > NOMINAL  # False where a budget is not known
    if not (rows := rows_where(final, off)):
        return
    middle, better = 1 / float(np.median(ratio[off])), _count_that_meets(final, final.budget)
    low, high = EXPLAINED.get(final.convention.params, (0.15, 6.5))
    many = 2 * len(rows) > len(final)
    chosen = "n_params_active" in final.extras  # of two counts the caller has named one
    grows = _moves_with(final.n_params[off], ratio[off])
    if max(middle, 1 / middle) > CERTAIN:
        why = tr(
            " Is the budget in another unit? Say it in the header, budget (EFLOP), or leave the column out:"
        )
        why += f" {WITHOUT_BUDGET}"
    elif better:
        argument = "columns" if better.startswith("--column") else "params_convention"
        why = tr(
            " Another count meets them: {better} (in Python {argument}=).", better=better, argument=argument
        )
    else:
        why = tr(
            " n_params or n_tokens counts something else than the budgets do (all experts of a mixture? "
            "embeddings?)"
        )
        why += tr(": mend it, or leave the budgets out: {without_budget}", without_budget=WITHOUT_BUDGET)
    yield Finding(
        code="budgets-disagree",
        short=tr(
            "6 N D is {ratio} times the stated budget in {rows}",
            ratio=extent(ratio[off], 2),
            rows=counted(len(rows), "row"),
        ),
        severity="error" if many and not chosen and not low <= middle <= high else "warning",
        message=tr(
            "6 n_params n_tokens is {ratio} times the stated budget in {where}{by_size}.{why}",
            ratio=extent(ratio[off], 2),
            where=name_rows(rows),
            by_size=tr(", by size") if grows else "",
            why=why,
        ),
        rows=rows,
        remedies=(better,) if better else ("--column budget=",),
    )


def _moves_with(sizes: Array, ratio: Array) -> bool:
    """Whether a ratio grows or falls with size: another count, where one factor for all is another way of counting."""
    x, y = np.log(sizes), np.log(ratio)
    spread = len(x) > 2 and min(x.std(), y.std()) > ONE_COUNT_WITHIN
    return bool(spread and abs(np.corrcoef(x, y)[0, 1]) > 0.7)


def _count_that_meets(final: Runs, budget: Array) -> str:
    """How to say that another column of parameters is N, with which 6 N D is the stated budget; "" where none is."""
    for header, values in final.extras.items():
        if "param" not in fold(header) or values.dtype.kind not in "fiu":
            continue
        with np.errstate(all="ignore"):
            off = np.abs(np.log(FLOPS_PER_PARAM_TOKEN * values * final.n_tokens / budget))
        if np.nanmax(off, initial=0.0) < NOMINAL and np.isfinite(off).any():
            return SAY_COUNT.get(header, f"--column n_params={shlex.quote(header)}")
    return ""


def _two_counts(final: Runs) -> Iterator[Finding]:
    """C / (6 N D) that takes two values: rows were counted in two ways, and no one law fits both."""
    if final.convention.flops == "6ND" or len(final) < 4:
        return
    with np.errstate(all="ignore"):
        log_ratio = np.log(final.flops / (FLOPS_PER_PARAM_TOKEN * final.n_params * final.n_tokens))
    order = np.sort(log_ratio)
    gap = int(np.argmax(np.diff(order)))
    low, high = order[: gap + 1], order[gap + 1 :]
    apart = min(len(low), len(high)) >= 2 and high[0] - low[-1] >= TWO_COUNTS_APART
    if not apart or np.ptp(low) > ONE_COUNT_WITHIN or np.ptp(high) > ONE_COUNT_WITHIN:
        return
    few = log_ratio > order[gap] if len(high) <= len(low) else log_ratio <= order[gap]
    rows = rows_where(final, few)
    values = [math.exp(float(np.median(part))) for part in (low, high)]
    found = (f", {why}" for factor, why in slips() for v in values if abs(v / factor - 1) < ONE_COUNT_WITHIN)
    slip = next(found, "")
    yield warning(
        code="two-flops-counts",
        short=tr(
            "FLOPs are {some} times 6 N D in some rows, {others} in others",
            some=plain(values[0]),
            others=plain(values[1]),
        ),
        message=tr(
            "FLOPs are {some} times 6 n_params n_tokens in some rows and {others} times in others "
            "({where}{slip}): two ways of counting in one table. Bring all rows to one, or leave the column "
            "out for 6ND: --column flops= (in Python columns={{'flops': None}}).",
            some=plain(values[0]),
            others=plain(values[1]),
            where=name_rows(rows),
            slip=slip,
        ),
        source="Porian et al. 2024, arXiv:2406.19146",
        rows=rows,
        remedies=("--column flops=",),
    )


def _embeddings(final: Runs) -> Iterator[Finding]:
    """Widths, layers and vocabularies that show N to leave the embeddings out, whatever its name."""
    width, vocabulary, layers = (_numbers(final, names) for names in (WIDTHS, VOCABULARIES, LAYERS))
    if final.convention.params not in ("total", "unknown") or width is None:
        return
    too_small = bare = np.zeros(len(final), bool)
    with np.errstate(all="ignore"):
        if vocabulary is not None:
            too_small = final.n_params < vocabulary * width
        if layers is not None:
            bare = np.abs(final.n_params / (CUBE_OF_A_TRANSFORMER * layers * width**2) - 1) < ONE_COUNT_WITHIN
    if too_small.mean() > 0.5:
        rows, why = (
            rows_where(final, too_small),
            tr("is less than its embedding alone, vocabulary times width,"),
        )
    elif bare.all():
        rows, why = rows_where(final, bare), tr("is 12 layers width^2, the weights without any embedding,")
    else:
        return
    yield warning(
        code="not-total",
        short=tr("N cannot count embeddings: say --params-convention non_embedding"),
        message=tr(
            "n_params {why} in {where}: it cannot count embeddings. Say --params-convention non_embedding "
            "(in Python params_convention=).",
            why=why,
            where=name_rows(rows),
        ),
        source="Kaplan et al. 2020, arXiv:2001.08361, table 1; Pearce and Song 2024, arXiv:2406.12907",
        rows=rows,
        remedies=("--params-convention non_embedding",),
    )


def _perplexity(final: Runs) -> Iterator[Finding]:
    """A loss against the perplexity beside it: its logarithm in nats."""
    if final.convention.loss_unit != "nats/token" or final.planned:
        return
    found: list[Finding] = []
    for header, values in final.extras.items():
        meaning = meaning_of(header) if values.dtype.kind in "fiu" else None
        if meaning is None or meaning.unit != "perplexity" or meaning.log_base:
            continue
        numbers = values.astype(np.float64) * meaning.scale
        known = np.isfinite(numbers) & (numbers > 1)
        if known.sum() < 3:
            continue
        logs, loss = np.log(numbers[known]), final.loss[known]
        ratio = logs / loss
        if np.all(np.abs(logs - loss) < SAME_LOSS):
            return
        if np.all(np.abs(ratio / math.log(2) - 1) < SAME_LOSS / 2):
            yield error(
                code="perplexity-disagrees",
                short=tr("{header} is 2 to the loss: the loss is in bits per token", header=header),
                message=tr(
                    "{header} is 2 to the power of the loss, not e: the loss is in bits per token. Say --loss-unit "
                    "bits/token (in Python loss_unit=).",
                    header=header,
                ),
                remedies=("--loss-unit bits/token",),
            )
            return
        if meaning.rank <= ALIAS and not {"train", "training", "test"} & set(fold(header).split("_")):
            one = ratio.max() < (1 + SAME_LOSS) * ratio.min()
            factor = (
                tr("{ratio} times", ratio=extent(ratio, 2))
                if one
                else tr("{ratio} times, by row,", ratio=extent(ratio, 2))
            )
            found.append(
                warning(
                    code="perplexity-disagrees",
                    short=tr("the logarithm of {header} is {factor} the loss", header=header, factor=factor),
                    message=tr(
                        "the logarithm of {header} is {factor} the loss: of other text, in another unit, or one of "
                        "them "
                        "is wrong. If it is the one to fit: --column loss={quoted} --loss-unit perplexity (in Python "
                        "columns=, loss_unit=).",
                        header=header,
                        factor=factor,
                        quoted=shlex.quote(header),
                    ),
                    remedies=(f"--column {shlex.quote(f'loss={header}')} --loss-unit perplexity",),
                )
            )
    yield from found[:1]


def _epochs(final: Runs) -> Iterator[Finding]:
    """Epochs above 1 beside tokens that are those of the dataset, or that contradict the unique ones."""
    name, epochs = _by_last_words(final, EPOCHS)
    if epochs is None or not (rows := rows_where(final, epochs > 1.05)):
        return
    header = final.read_from.get("n_tokens", "")
    unique = final.n_tokens_unique
    if unique is not None and np.isfinite(unique).any():
        passes = final.n_tokens / unique
        with np.errstate(invalid="ignore"):
            # epochs may be rounded up or down
            off = np.abs(passes - epochs) > np.maximum(0.05 * epochs, 0.99)
        if rows := rows_where(final, off):
            yield warning(
                code="epochs-disagree",
                short=tr("n_tokens contradicts {name} in {rows}", name=name, rows=counted(len(rows), "row")),
                message=tr(
                    "n_tokens is {passes} times the unique tokens and {name} is {epochs} in {where}: n_tokens counts "
                    "all tokens seen, repeats included; mend the one that is wrong.",
                    passes=extent(passes[off], 2),
                    name=name,
                    epochs=extent(epochs[off], 2),
                    where=name_rows(rows),
                ),
                rows=rows,
            )
        return
    own_compute = final.read_from.get("flops", header) not in (header, final.read_from.get("n_params"))
    if not DATASET & set(fold(header).split("_")) or (own_compute and final.convention.flops == "6ND"):
        return  # 6 N D of the tokens seen is what the table's compute says
    exchange = f"--column n_tokens= --column {shlex.quote(f'n_tokens_unique={header}')}"
    way = tr(" (here it follows from the compute: {exchange})", exchange=exchange) if own_compute else ""
    yield warning(
        code="epochs-beside-dataset",
        short=tr("{name} is above 1: is {header} the tokens seen, or the dataset?", name=name, header=header),
        message=tr(
            "{name} is above 1 in {where} and {header} is read as the tokens seen; if it counts the dataset "
            "once, tokens seen are {name} times that: give them in a column n_tokens{way}, and read {header} "
            "as n_tokens_unique.",
            name=name,
            where=name_rows(rows),
            header=header,
            way=way,
        ),
        rows=rows,
        remedies=(exchange,) if own_compute else (),
    )


def _mixture(final: Runs) -> Iterator[Finding]:
    """Experts of which a token meets some, and an N that counts all, or does not say."""
    convention, header = final.convention, final.read_from.get("n_params", "")
    if convention.params != "unknown" and not convention.params_assumed:
        return
    if header == final.read_from.get("flops", ""):
        return  # N = C / 6 D counts what the compute does
    name, experts = _by_last_words(final, EXPERTS)
    if experts is None or not (experts > 1).any() or "n_params_active" in final.extras:
        return
    _, met = _by_last_words(final, EXPERTS_MET)
    if met is not None and np.all(met[experts > 1] >= experts[experts > 1]):
        return
    counts = tr("counts all parameters") if convention.params == "total" else tr("may count all parameters")
    yield warning(
        code="mixture-of-experts",
        short=tr("mixtures of experts, and N {counts}: compute is of active ones", counts=counts),
        message=tr(
            "the table is of mixtures of experts (column {name}) and N (column {counted_as}) {counts}: training "
            "compute is 6 N D of the active ones. Give them: --column n_params_active=COLUMN "
            "--params-convention active, or say what N is: --params-convention total or active (in Python "
            "params_convention=).",
            name=name,
            counted_as=header or "n_params",
            counts=counts,
        ),
        remedies=("--params-convention total", "--params-convention active"),
    )


def _by_last_words(final: Runs, names: tuple[str, ...]) -> tuple[str, Array | None]:
    """The first column of numbers of one of these names, also at the end of a path; and its header."""
    for header, values in final.extras.items():
        if fold_tail(header) in names and values.dtype.kind in "fiu":
            return header, values.astype(np.float64)
    return "", None


def _numbers(final: Runs, names: tuple[str, ...]) -> Array | None:
    """A column of numbers, also where a letter stands before them ("d512")."""
    values = extra_numbers(final, *names)
    if values is not None:
        return values
    texts = extra_column(final, *names)
    cells = () if texts is None else texts.tolist()
    sizes = [m[1] for m in (re.fullmatch(r"[a-zA-Z_]*(\d+)", str(cell).strip()) for cell in cells) if m]
    return np.array(sizes, dtype=np.float64) if sizes and len(sizes) == len(cells) else None
