"""What a column name says by its words: which quantity, in which unit, on which scale.

"config.model.num_params", "Tokens (B)", "total_gflops", "compute_pf_days", "val_perplexity", "log10 C" are read word by
word: a noun (params, tokens, flops, loss) and words that do not change what it is (n, total, train, val, final). One
word that is not understood and the name means nothing to us: `tokens_per_sec` is no count of tokens.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace

from scaling.errors import UnitError
from scaling.units import PFLOPS_DAY, parse_flops, parse_number, parse_params, parse_tokens

# How sure a name is. Of several columns for one quantity the surest is read; two of one rank are ambiguous.
OWN_NAME, ALIAS, PATH_TAIL, UNIT_ONLY = 0, 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a header says."""

    name: str  # ours
    rank: int = ALIAS
    scale: float = 1.0  # from a unit: "tokens (B)" is 1e9
    log_base: float = 0.0  # the cells are logarithms to this base; 0 = they are not
    unit: str = ""  # of the loss, where the header says it
    says_total: bool = False  # of parameters: the name itself says that embeddings are included


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_COUNT = _set("n num number nr nb of count counts the amount numero nombre anzahl der de en in")
_PARAMS = _set("param params parameter parameters parametros parametres parametri")
_PARAMS_WORDS = _COUNT | _set("total all model size trainable")
_NO_EMBEDDING = _set("nonemb nonembedding nonembeddings nonembed")
_NOT = _set("non no not without excluding excl exclude wo")
_EMBEDDING = _set("emb embed embedding embeddings vocab vocabulary")
_ACTIVE = _set("active activated")
_TOKENS = _set("token tokens toks tok jetons")
_TRAINING = _set("total all train training trained pretrain pretraining used")
_TOKENS_WORDS = _COUNT | _TRAINING | _set("seen consumed processed dataset data size on")
_FLOPS = _set("flop flops compute")
_FLOPS_WORDS = _COUNT | _TRAINING | _set("estimated est spent cumulative model run 6nd")
_BUDGET = _set("budget budgets isoflop isoflops target nominal")
_LOSS = _set("loss nll xent perdida perte verlust perda perdita")
_LOSS_WORDS = _set(
    "final last end val valid validation eval evaluation test dev train training pretraining pretrain lm held out "
    "heldout mean avg average ce cross entropy nll loss de"
)
# Words that make of a known quantity another one, wherever they stand.
CHANGES_MEANING = _set(
    "per rate ratio speed throughput std stdev stderr sem se var variance ci low high lower upper delta diff err error "
    "improvement peak inference forward fwd backward teacher draft reward aux z balance max min best spike spikes gpu "
    "gpus device node optimizer optim log ln log2 log10 baseline predicted pred fitted residual"
)
_DENOMINATORS = _set("s sec second seconds min h hour day token param parameter step iter byte char word gpu")
_SPLITS = _set("val valid validation eval evaluation test dev train training total final")
# What a tool files its columns under, so that what follows is a name and not what something is divided by.
_PLACES = _set(
    "config configs summary train trainer training eval evaluation val valid validation test model final history "
    "metrics args hparams progress throughput log logs state run info 0"
)
_LOGS = {"log10": 10.0, "log2": 2.0, "ln": 2.718281828459045}
_WHOLE = {  # names of more than one reading, and those of columns that are no numbers
    "model_size": "n_params", "data_size": "n_tokens", "dataset_size": "n_tokens",
    "u": "", "n_params_nonemb": "n_params_nonemb", "n_params_active": "n_params_active",
    "n_tokens_unique": "n_tokens_unique", "non_embedding_param_size": "n_params_nonemb",
    "active": "n_params_active", "n_active": "n_params_active", "n_act": "n_params_active",
    "params_act": "n_params_active", "n_params_act": "n_params_active", "act_params": "n_params_active",
    "run_id": "run_id", "run": "run_id", "run_name": "run_id", "runid": "run_id", "id": "run_id",
    "experiment_id": "run_id", "name": "run_id", "trunk_id": "trunk_id", "trunk": "trunk_id",
    "parent_run": "trunk_id", "parent_run_id": "trunk_id", "step": "step", "steps": "step", "iteration": "step",
    "iterations": "step", "iter": "step", "iters": "step", "global_step": "step", "train_step": "step",
    "train_steps": "step", "training_step": "step", "training_steps": "step", "num_steps": "step",
    "num_iterations": "step", "optimizer_step": "step", "optimizer_steps": "step",
    "flops_source": "flops_source", "flops_counting": "flops_source", "params_convention": "params_convention",
    "flops_convention": "flops_convention", "loss_unit": "loss_unit", "data_unit": "data_unit",
}  # fmt: skip
# Columns whose rows of different values do not lie on one surface: corpora, validation sets, tokenizers.
GROUPS = ("experiment", "corpus", "dataset", "eval_set", "validation_set", "tokenizer", "group")
# Columns that only mixtures of experts have.
EXPERTS = ("num_experts", "n_experts", "experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_LETTERS = {"N": "n_params", "D": "n_tokens", "C": "flops", "L": "loss", "U": "n_tokens_unique"}
OWN_NAMES = (
    "n_params", "n_params_nonemb", "n_params_active", "n_tokens", "n_tokens_unique", "flops", "loss", "budget",
    "run_id", "trunk_id", "step", "flops_source", "params_convention", "flops_convention", "loss_unit",
    "data_unit",
)  # fmt: skip
PARSERS = dict.fromkeys(("n_params", "n_params_nonemb", "n_params_active"), parse_params)
PARSERS |= dict.fromkeys(("n_tokens", "n_tokens_unique"), parse_tokens)
PARSERS |= dict.fromkeys(("flops", "budget"), parse_flops)

# A phrase that says a loss is in another unit than nats per token; the longest first.
_LOSS_UNITS = (
    ("log perplexity", "nats/token"), ("log ppl", "nats/token"), ("ln ppl", "nats/token"),
    ("ln perplexity", "nats/token"), ("perplexity", "perplexity"), ("perplexities", "perplexity"),
    ("perplejidad", "perplexity"), ("perplexite", "perplexity"), ("perplexitat", "perplexity"),
    ("pplx", "perplexity"), ("ppl", "perplexity"),
    ("bits per byte", "bits/byte"), ("bits byte", "bits/byte"), ("bpb", "bits/byte"),
    ("bits per character", "bits/character"), ("bits per char", "bits/character"), ("bits char", "bits/character"),
    ("bpc", "bits/character"), ("bits per token", "bits/token"), ("bits token", "bits/token"), ("bpt", "bits/token"),
    ("bits per word", "bits/word"), ("bits per dim", "bits/dim"), ("bits per dimension", "bits/dim"),
    ("nats per token", "nats/token"), ("nats token", "nats/token"), ("nats per byte", "nats/byte"),
    ("nats byte", "nats/byte"), ("nats per char", "nats/character"), ("nats per character", "nats/character"),
    ("nats", "nats/token"), ("bits", "bits/token"),
)  # fmt: skip
_SCALE_WORD = re.compile(
    r"^(?:k|m|b|g|t|bn|mn|mil|mio|mrd|thousands?|millions?|billions?|trillions?|1?e\d{1,2}|10\d{1,2})$"
)
_SCALED_LETTER = re.compile(r"^([NDCU])(?:\s*/\s*(1?e\d{1,2})|[_ ]in[_ ]([A-Za-z]+|1?e\d{1,2}))$")
_FUSED = re.compile(r"^([kmbgt])(params?|parameters?|tokens?|toks?)$")  # Mparams, Btokens
_FLOP_UNIT = re.compile(r"^(kilo|mega|giga|tera|peta|exa|zetta|yotta|[kmgtpezy])(flops?|f)$")
_BRACKETS = re.compile(r"[(\[{]([^()\[\]{}]*)[)\]}]")


def fold(header: str) -> str:
    """'Model Size' → 'model_size', 'Pérdida' → 'perdida'; a single capital letter stays a capital."""
    body = header.strip()
    return body if len(body) == 1 else "_".join(_words(body))


def means(header: str, *names: str) -> bool:
    """Whether a header names one of these quantities of ours."""
    meaning = meaning_of(header)
    return meaning is not None and meaning.name in names


def scale_of(header: str) -> float:
    """The factor of the unit in a header: 1e6 for "params (M)"."""
    meaning = meaning_of(header)
    return meaning.scale if meaning else 1.0


def fold_tail(header: str) -> str:
    """The end of a path, folded: 'config/MoE.num_experts' → 'num_experts'."""
    return fold(re.split(r"[/.]", header)[-1])


def parse_quantity(text: str, name: str) -> float:
    """'7B' as a number of this quantity of ours; a plain number with a unit for another name."""
    return PARSERS.get(name, parse_number)(text)


def meaning_of(header: str) -> Meaning | None:
    """The quantity a header names, or None where a word of it is not understood.

    Example:
        >>> meaning_of("Tokens (B)").scale
        1000000000.0
        >>> meaning_of("tokens_per_sec") is None
        True
    """
    body = header.strip()
    if fold(body) in OWN_NAMES and "#" not in body:
        return Meaning(name=fold(body), rank=OWN_NAME, says_total=fold(body) == "n_params")
    brackets = [b.strip() for b in _BRACKETS.findall(body) if b.strip()]
    rest = _BRACKETS.sub(" ", body).strip(" -_:,")
    if fold(rest) in _LOGS and brackets:  # log10(C)
        rest, brackets = f"{rest} {brackets[0]}", brackets[1:]
    whole = _plain_name(rest, brackets)
    if whole is not None:
        return whole
    tail = _tail_of_path(rest, brackets)
    return None if tail is None else replace(tail, rank=max(tail.rank, PATH_TAIL))


def _tail_of_path(path: str, brackets: list[str]) -> Meaning | None:
    """What the end of a path means: eval/loss is one, and loss/val; loss/token, D/N and samples/step are ratios."""
    parts = [p.strip() for p in re.split(r"[/.:|>]+", path) if _words(p)]
    if len(parts) < 2:
        return None
    before = {w for p in parts[:-1] for w in _words(p)}
    if CHANGES_MEANING & before - {"throughput", "min", "max", "low", "high"}:
        return None
    if set(_words(parts[-1])) <= _SPLITS:
        return _plain_name(" ".join(parts[-2:]), brackets)
    if "/" in path and _words(parts[-1])[-1] in _DENOMINATORS and not set(_words(parts[-2])) <= _PLACES:
        return None
    tail = _plain_name(parts[-1], brackets)
    heads = [_plain_name(p, []) for p in parts[:-1]]
    quantities = {h.name for h in heads if h and (h.name in PARSERS or h.name == "loss")}
    return None if tail and quantities - {tail.name} else tail


def last_words(header: str) -> Meaning | None:
    """What the last words of a name would mean without those before: a proposal for a message, never a reading."""
    words = _words(_BRACKETS.sub(" ", header))
    if CHANGES_MEANING & set(words) or not words or words[-1] in _DENOMINATORS:
        return None
    for i in range(1, len(words)):
        if found := meaning_of("_".join(words[i:])):
            return found
    return None


def misspelt(header: str) -> Meaning | None:
    """What a name would mean with its words spelt as we know them: 'n_prams'. A proposal, never a reading."""
    import difflib  # 5 ms: only when something went wrong

    known = [*_PARAMS, *_TOKENS, *_FLOPS, *_LOSS, *_BUDGET]
    near = [
        (difflib.get_close_matches(w, known, n=1, cutoff=0.8) or [w])[0] if len(w) > 3 else w
        for w in _words(header)
    ]
    return None if CHANGES_MEANING & set(near) else meaning_of("_".join(near))


def _words(text: str) -> list[str]:
    """Lower-case words: split at signs and where a capital begins one (nParams, NParams), without accents."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    plain = re.sub(r"#|№", " n ", plain)
    plain = re.sub(
        r"(?<=[a-z])(?=[A-Z][A-Za-z])|(?<=[a-z]{2})(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})", " ", plain
    )
    return re.findall(r"[0-9a-z]+", plain.lower())


def _plain_name(name: str, brackets: list[str]) -> Meaning | None:
    """A name without a path, and what stood in brackets behind it."""
    if name in _LETTERS:
        return _with_brackets(Meaning(name=_LETTERS[name]), brackets)
    if scaled := _SCALED_LETTER.match(name):  # N/1e6, D_in_B
        letter = Meaning(name=_LETTERS[scaled[1]])
        return _with_brackets(_scaled(letter, scaled[2] or scaled[3]), brackets)
    words = _words(name)
    if name[:1] == "N" and words == ["n", "total"]:
        return _with_brackets(Meaning(name="n_params", says_total=True), brackets)
    if whole := _WHOLE.get("_".join(words)):
        return _with_brackets(Meaning(name=whole), brackets)
    base = 0.0
    if words and words[0] in _LOGS and "_".join(words[:2]) not in ("ln_ppl", "ln_perplexity"):
        base, words = _LOGS[words[0]], words[1:]
        if len(words) == 1 and words[0].upper() in _LETTERS and words[0].upper() in name:
            return _with_brackets(Meaning(name=_LETTERS[words[0].upper()], log_base=base), brackets)
    found = _quantity(words) or _scaled_name(words)
    if found is None or (base and found.unit):
        return None
    return _with_brackets(replace(found, log_base=base) if base else found, brackets)


def _quantity(words: list[str]) -> Meaning | None:
    return _loss(words) or _flops(words) or _counted(words)


def _scaled_name(words: list[str]) -> Meaning | None:
    """'params_in_millions', 'tokens_1e9', 'Mparams': a scale beside a name that is one without it."""
    if len(words) == 1 and (fused := _FUSED.match(words[0])):
        return _scaled(_counted([fused[2]]), fused[1])
    if len(words) > 1 and _SCALE_WORD.match(words[-1]):
        rest = words[:-2] if words[-2] == "in" else words[:-1]
        return _scaled(_quantity(rest), words[-1])
    return None


def _counted(words: list[str]) -> Meaning | None:
    """Parameters or tokens."""
    have = set(words)
    if have & _PARAMS:
        rest = have - _PARAMS - _PARAMS_WORDS
        if rest & _NO_EMBEDDING or (rest & _NOT and rest & _EMBEDDING):
            return None if rest - _NO_EMBEDDING - _NOT - _EMBEDDING else Meaning(name="n_params_nonemb")
        if rest & _ACTIVE:
            return None if rest - _ACTIVE else Meaning(name="n_params_active")
        return None if rest else Meaning(name="n_params", says_total=bool(have & {"total", "all"}))
    if have & _TOKENS:
        rest = have - _TOKENS - _TOKENS_WORDS
        if rest == {"unique"}:
            return Meaning(name="n_tokens_unique")
        return None if rest else Meaning(name="n_tokens")
    return None


def _flops(words: list[str]) -> Meaning | None:
    """Compute in FLOPs or a multiple, spent or as the budget of a group."""
    have = set(words)
    scale, left = _flop_unit(words)
    rest = set(left) - _FLOPS - _FLOPS_WORDS
    budget = bool(rest & _BUDGET)
    rest -= _BUDGET
    if rest or not (have & _FLOPS or budget or scale):
        return None
    if budget and have & {"target", "nominal"} and not (have & _FLOPS or scale or "budget" in have):
        return None  # a target of what?
    said_as_spent = set(left) & (_FLOPS | {"total", "train", "training"}) or scale == PFLOPS_DAY
    unit_alone = bool(scale) and not said_as_spent  # "gflops" may be those of one sample, "tflops" a rate
    name, rank = "budget" if budget else "flops", UNIT_ONLY if unit_alone else ALIAS
    return Meaning(name=name, scale=scale or 1.0, rank=rank)


def _flop_unit(words: list[str]) -> tuple[float, list[str]]:
    """The factor of a FLOP unit among the words ('gflops', 'pf days'; 0 = none) and the other words."""
    for i, word in enumerate(words):
        after = words[i + 1 : i + 3]
        days = 2 if after[:2] in (["s", "days"], ["s", "day"]) else int(after[:1] in (["days"], ["day"]))
        joined = re.match(r"^(p|e|peta|exa)(?:flops?|f)(?:days?|d)$", word)
        if joined:
            return parse_flops(f"1 {joined[1]}f-day"), words[:i] + words[i + 1 :]
        if match := _FLOP_UNIT.match(word):
            if days:
                letter = {"peta": "p", "exa": "e"}.get(match[1], match[1])
                factor = _factor("flops", f"{letter}f-day") or 0.0
                return factor, words[:i] + words[i + 1 + days :]
            if match[2] != "f":
                return _factor("flops", word) or 0.0, words[:i] + words[i + 1 :]
        if match and match[2] == "f":
            return 0.0, words
        if word in ("peta", "exa", "tera", "giga", "zetta") and after[:1] in (["flops"], ["flop"]):
            return _factor("flops", f"{word}flops") or 0.0, words[:i] + words[i + 2 :]
    return 0.0, words


def _loss(words: list[str]) -> Meaning | None:
    """A loss by its noun, or by a unit that only a loss has; a corpus may be named before such a unit."""
    text = f" {' '.join(words)} "
    for phrase, unit in _LOSS_UNITS:
        if f" {phrase} " in text:
            rest = set(text.replace(f" {phrase} ", "  ", 1).split())
            if rest & CHANGES_MEANING or (phrase in ("nats", "bits") and not _is_loss(rest)):
                return None
            named = not rest - _LOSS - _LOSS_WORDS
            return Meaning(name="loss", unit=unit, rank=ALIAS if named else PATH_TAIL)
    have = set(words)
    return Meaning(name="loss") if _is_loss(have) and not have - _LOSS - _LOSS_WORDS else None


def _is_loss(words: set[str]) -> bool:
    return bool(words & _LOSS) or {"cross", "entropy"} <= words


def _with_brackets(found: Meaning | None, brackets: list[str]) -> Meaning | None:
    """Each bracket behind a name is a unit, a scale, or words that change nothing; else the name is not understood."""
    for text in brackets:
        if found is None:
            return None
        unit = re.sub(r"^(?:(?:in|of)\s+|[x×]\s*(?=\d))", "", text.replace("_", " "), flags=re.IGNORECASE)
        if found.name == "loss":
            said = _loss([*_words(unit), "loss"])
            if not set(_words(unit)) <= _LOSS_WORDS:
                own = found.unit  # "PPL (wikitext)": a label behind a name that says its unit
                found = replace(found, unit=said.unit if said and said.unit else own or unit)
        elif set(_words(unit)) <= _TOKENS_WORDS | _PARAMS_WORDS | _FLOPS_WORDS and _words(unit):
            found = replace(found, says_total=found.says_total or bool({"total", "all"} & set(_words(unit))))
        elif found.name == "n_params" and (finer := _counted([*_words(unit), "params"])):
            found = replace(finer, rank=found.rank, scale=found.scale)
        else:
            found = _scaled(found, unit)
    return found


def _scaled(found: Meaning | None, unit: str) -> Meaning | None:
    if found is None or found.name not in PARSERS:
        return None
    factor = _factor(found.name, unit)
    return None if factor is None else replace(found, scale=found.scale * factor)


def _factor(name: str, unit: str) -> float | None:
    """The factor a unit stands for: 'M' → 1e6, '1e9' → 1e9, 'ZFLOPs' → 1e21; None when it is no such unit."""
    unit = unit.rstrip(".")
    plain = {"mn": "M", "mil": "M", "mrd": "B"}.get(unit.lower(), unit)
    ways = [f"1 {plain}", f"1 {plain.removesuffix('s')}", plain, f"1{plain}" if plain[:1] in "eE" else plain]
    if name in ("flops", "budget") and len(plain) == 1 and plain.lower() in "kmgtpezy":
        ways.insert(0, f"1 {plain}FLOP")  # "FLOPs (P)"
    for text in ways:
        try:
            return PARSERS[name](text)
        except (UnitError, KeyError):
            continue
    return None
