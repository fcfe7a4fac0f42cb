"""Read and print quantities: 3e18, 1.4T tokens, 7B, 8xH100, 14d, $25k; and round a value by its error.

Kinds never mix: a suffix of another kind ("7B tokens" where parameters are asked) is an error, not a guess.
A comma separates thousands or is the decimal sign, whichever the digits allow; where both would do it is refused.
Scale letters: k 1e3, M 1e6, B or G 1e9, T 1e12, and for FLOPs the SI letters up to Y. GB is 1e9 bytes, GiB 2^30.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from scaling.errors import UnitError
from scaling.translation import tr

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
WEEK, MONTH, YEAR = 7 * DAY, 365.25 / 12 * DAY, 365.25 * DAY
PRODUCT_ERROR = 4.5e-16  # of a number read from digits, times a factor: two roundings to 53 bits
PFLOPS_DAY = 1e15 * DAY  # 1 PF-day = 8.64e19 FLOPs (Kaplan et al. 2020)

_SCALES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "bn": 1e9, "t": 1e12, "tn": 1e12}
_SCALES |= {"thousand": 1e3, "million": 1e6, "mio": 1e6, "mrd": 1e9, "billion": 1e9, "trillion": 1e12}
_SI = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21, "y": 1e24}
_SI |= {name: _SI[name[0]] for name in ("kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "yotta")}

# A suffix of each kind, so that a wrong one is named in the error.
_WORDS = {
    "parameters": {"p", "param", "params", "parameter", "parameters", "weights"},
    "tokens": {"tok", "toks", "token", "tokens"},
    "dollars": {"$", "usd", "dollar", "dollars"},
}
_TIME = {
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0,
    "min": MINUTE, "mins": MINUTE, "minute": MINUTE, "minutes": MINUTE,
    "h": HOUR, "hr": HOUR, "hrs": HOUR, "hour": HOUR, "hours": HOUR,
    "d": DAY, "day": DAY, "days": DAY, "w": WEEK, "wk": WEEK, "week": WEEK, "weeks": WEEK,
    "mo": MONTH, "month": MONTH, "months": MONTH, "y": YEAR, "yr": YEAR, "year": YEAR, "years": YEAR,
}  # fmt: skip
_BYTES = {"b": 1.0, "byte": 1.0, "bytes": 1.0}
_BYTES |= {f"{p}b": 1000.0**i for i, p in enumerate("kmgtp", 1)} | {
    f"{p}ib": 1024.0**i for i, p in enumerate("kmgtp", 1)
}
_FLOP_WORD = re.compile(r"^(kilo|mega|giga|tera|peta|exa|zetta|yotta|[kmgtpezy]?)-?flops?$")
_FLOP_DAYS = re.compile(r"^(peta|exa|[pe])-?f(?:lops?)?(?:/s)?[- ]?(d|day|days|s|h|hours?)$")
_NUMBER = re.compile(r"^([+-]?)((?:\d|[.,](?=\d))(?:[\d_]|[.,'](?=\d))*\.?)([eE][+-]?\d+)?")
_GROUPS = re.compile(r"[1-9]\d{0,2}([.,' ])\d{3}(?:\1\d{3})*")
_POWER = re.compile(r"^(?:([\d.]+)\s*[*x×·]\s*)?10\s*(?:\^|\*\*)\s*\{?([+-]?\d+)\}?")


class Hardware(NamedTuple):
    """A number of accelerators of one name; `seconds` when the text said for how long."""

    n_accelerators: int
    name: str
    seconds: float | None = None


def without_thousands(digits: str, decimal: str) -> str | None:
    """Digits with their signs as `float` reads them if `decimal` is the decimal sign; None where it cannot be.

    Thousands stand in groups of three behind one sign that is not the decimal one: 1,234,567.8 and 1.234.567,8.
    """
    whole, point, fraction = digits.partition(decimal)
    if (fraction and not fraction.isdecimal()) or not (whole or fraction):
        return None
    if groups := _GROUPS.fullmatch(whole):
        whole = whole.replace(groups[1], "")
    elif whole and not whole.replace("_", "").isdecimal():
        return None
    return f"{whole.replace('_', '')}{'.' if point else ''}{fraction}"


def _leading_number(
    text: str, body: str, example: str, unscaled: Callable[[str], bool]
) -> tuple[float, str] | None:
    """The number that `body` opens with and the rest; a comma that could be either sign is refused.

    unscaled: whether behind this rest a comma can only separate thousands (25,000 dollars have no mills).
    """
    number = _NUMBER.match(body.replace("−", "-"))
    if number is None:
        return None
    sign, digits, exponent = number[1], number[2], number[3] or ""
    rest = body[number.end() :].strip()
    by_point, by_comma = without_thousands(digits, "."), without_thousands(digits, ",")
    if rest.startswith((",", ".", "_", "'")) or (by_point is None and by_comma is None):
        raise UnitError(
            f"{text!r} has a misplaced separator; write {example} (thousands: 1_000_000 or 1,000,000)."
        )
    if "," in digits and by_comma and exponent:
        by_point = None  # nobody writes thousands before an exponent: 1,400e20 is 1.4e20
    elif "," in digits and by_point and by_comma and not unscaled(rest.lower()):
        tail = body[number.end() :].rstrip()
        raise UnitError(
            f"{text!r} could be {sign}{by_comma}{tail} or {sign}{by_point}{tail}: the comma could be a decimal sign or "
            "separate thousands; write one of the two."
        )
    return float(f"{sign}{by_point or by_comma}{exponent}"), rest


def _split(text: str, kind: str, example: str, *, whole: bool = False) -> tuple[float, str]:
    """The leading number of `text` and the rest, stripped and in lower case."""
    body = text.strip()
    if power := _POWER.match(body):
        value = float(power[1] or 1) * 10.0 ** min(int(power[2]), 400) if int(power[2]) < 300 else math.inf
        return value, body[power.end() :].strip().lower()
    words = _WORDS["dollars"] if kind == "dollars" else set()
    counts = whole or kind == "dollars"
    found = _leading_number(text, body, example, lambda rest: counts and (not rest or rest in words))
    if found is None:
        if not body:
            raise UnitError(
                f"the value is empty (a $ that the shell has replaced? single quotes keep it: '$25k'); write "
                f"{example}."
            )
        what = "a number" if kind == "number" else f"a number of {kind}"
        raise UnitError(f"{text!r} is not {what}; write for example {example}.")
    return found[0], found[1].lower()


_EXAMPLES = {
    "FLOPs": "1e21, '1 ZFLOP' or '11574 PF-days'",
    "parameters": "7B or 125M",
    "tokens": "1.4T or 300B",
    "time": "14d, 36h or 90min",
    "dollars": "25k or $1.2M",
    "bytes": "80GB or 24GiB",
    "number": "1e6 or 2.5 million",
}


def _positive(value: float, given: object, kind: str, example: str = "") -> float:
    if not math.isfinite(value) or value <= 0:
        raise UnitError(
            f"{kind} must be a finite number above zero; got {given!r}. "
            f"Write for example {example or _EXAMPLES[kind]}."
        )
    return value


def _read(
    value: str | float,
    kind: str,
    unit: Callable[[str], float | None],
    example: str | None = None,
    *,
    whole: bool = False,
) -> float:
    """`unit(rest)` gives the factor of a suffix, or None when it is not one of this kind."""
    example = example or _EXAMPLES[kind]
    if isinstance(value, (int, float)):
        return _positive(float(value), value, kind, example)
    number, rest = _split(value, kind, example, whole=whole)
    factor = unit(rest)
    if factor is None:
        other, what = _kind_of(rest), "a number" if kind == "number" else kind
        if other and other != kind:
            why = f"{rest!r} is a unit of {other}"
        else:
            why = f"{rest!r} is no factor" if kind == "number" else f"{rest!r} is not a unit of {kind}"
        raise UnitError(f"{value!r} cannot be read as {what}: {why}; write for example {example}.")
    return _positive(_as_written(number * factor), value, kind, example)


def _as_written(product: float) -> float:
    """8.549527438 times 1e9 is 8549527438, not 8549527438.000001: the product as its 14 digits say, where they do."""
    written = float(f"{product:.14g}")
    return written if abs(written - product) <= PRODUCT_ERROR * abs(product) else product


def _kind_of(rest: str) -> str:
    """Which kind a suffix belongs to, for the error message only."""
    words = rest.split()
    last = words[-1] if words else ""
    for kind, names in _WORDS.items():
        if last in names:
            return kind
    if _FLOP_WORD.match(last) or _FLOP_DAYS.match(rest):
        return "FLOPs"
    if rest in _BYTES and rest != "b":
        return "bytes"
    return "time" if rest in _TIME else ""


def _scaled(own: set[str]) -> Callable[[str], float | None]:
    """Factor of '', 'b', 'billion', 'tokens', 'b tokens', 'btokens' for a kind whose own words are `own`."""

    def factor(rest: str) -> float | None:
        for word in sorted(own, key=len, reverse=True):
            if rest.endswith(word) and (len(word) > 1 or not rest[:-1].strip()):
                rest = rest[: -len(word)]
                break
        words = rest.split()
        if not words:
            return 1.0
        return _SCALES.get(words[0]) if len(words) == 1 else None

    return factor


def _flops_factor(rest: str) -> float | None:
    if not rest:
        return 1.0
    if days := _FLOP_DAYS.match(rest):
        seconds = {"d": DAY, "h": HOUR, "s": 1.0}[days[2][0]]
        return _SI[days[1]] * seconds
    words = rest.split()
    if len(words) == 2 and words[0] in _SCALES and words[1] in ("flop", "flops"):
        return _SCALES[words[0]]
    word = _FLOP_WORD.match(rest.replace(" ", ""))
    return _SI[word[1]] if word else None


def parse_flops(value: str | float) -> float:
    """FLOPs: 1e21, '5.76e23 FLOPs', '1 ZFLOP', '11574 PF-days'. Raises UnitError for a rate or another kind."""
    if isinstance(value, str) and re.search(r"flops?/s$", value.strip().lower()):
        raise UnitError(f"{value!r} is a rate (FLOP/s); a budget is FLOPs: multiply it by the seconds.")
    return _read(value, "FLOPs", _flops_factor)


def parse_params(value: str | float) -> float:
    """Parameters: 7B, '125M params', 1e9."""
    return _read(value, "parameters", _scaled(_WORDS["parameters"]))


def parse_tokens(value: str | float) -> float:
    """Tokens: 1.4T, '300B tokens', 1e12."""
    return _read(value, "tokens", _scaled(_WORDS["tokens"]))


def parse_number(value: str | float, *, example: str | None = None, whole: bool = False) -> float:
    """A plain positive number: 1_000_000, '2.5 million', 1e6.

    Args:
        example: what an error suggests to write.
        whole: only whole numbers make sense, so 50,257 is 50257; else it is refused, for it could be 50.257.
    """
    return _read(value, "number", _scaled(set()), example, whole=whole)


def parse_bytes(value: str | float) -> float:
    """Bytes: 80GB (1e9), 24GiB (2^30). Text without a unit is refused: 80 could be anything."""
    if isinstance(value, str) and not _split(value, "bytes", _EXAMPLES["bytes"])[1]:
        raise UnitError(f"{value!r} has no unit; write {_EXAMPLES['bytes']}.")
    return _read(value, "bytes", _BYTES.get)


def parse_dollars(value: str | float) -> float:
    """US dollars: 25k, $1.2M, '300 USD'."""
    if isinstance(value, str):
        if any(sign in value for sign in "€£¥"):
            raise UnitError(
                f"{value!r} is not in US dollars, the only currency of the price table; convert it first."
            )
        value = value.strip().removeprefix("$")
    return _read(value, "dollars", _scaled(_WORDS["dollars"]))


def parse_duration(value: str | float) -> float:
    """Seconds: 14d, 36h, '1d 12h', 90min. A bare number in text is refused: 14 what?"""
    if isinstance(value, (int, float)):
        return _positive(float(value), value, "time")
    total, rest = 0.0, value.strip()
    while rest:
        found = _leading_number(value, rest, _EXAMPLES["time"], lambda _: False)
        unit = re.match(r"([a-zA-Z]+)\s*", found[1]) if found else None
        if found is None or unit is None:
            raise UnitError(f"{value!r} is not a time with a unit; write {_EXAMPLES['time']}.")
        if unit[1].lower() not in _TIME or unit[1] == "M":
            raise UnitError(
                f"{value!r}: {unit[1]!r} is not a unit of time (s, min, h, d, w, mo, y); write {_EXAMPLES['time']}."
            )
        total += found[0] * _TIME[unit[1].lower()]
        rest = found[1][unit.end() :]
    return _positive(total, value, "time")


def parse_hardware(text: str) -> Hardware:
    """'8xH100', '8 x H100', '8*H100 for 14d', 'H100' → count, name (as written), seconds or None."""
    body, _, time = text.partition(" for ")
    match = re.match(r"^\s*(?:(-?\d[\d_,]*)\s*[x×*]\s*)?([A-Za-z][\w .+-]*?)\s*$", body)
    if match is None:
        raise UnitError(
            f"{text!r} is not an accelerator; write 8xH100 (`scaling hardware list` shows the names)."
        )
    digits = without_thousands((match[1] or "1").removeprefix("-"), ".")
    count = 0 if digits is None or (match[1] or "").startswith("-") else int(digits)
    if not 1 <= count <= 10_000_000:
        raise UnitError(f"{text!r}: the number of accelerators must lie between 1 and 10 million.")
    return Hardware(count, match[2], parse_duration(time) if time.strip() else None)


# --- printing ---

MOST_DIGITS = 6  # of a value: losses are logged with four or five, and a law is no better known than they
UNSURE_DIGITS = 4  # of a value whose error nobody has told


def format_flops(flops: float, digits: int = 3) -> str:
    """1e21, 5.76e23."""
    if not math.isfinite(flops) or flops == 0:
        return _odd(flops)
    if 1 <= abs(flops) < 1e3:
        return _plain(flops, digits)
    mantissa, exponent = f"{flops:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def _format_scaled(value: float, scales: Mapping[str, float], digits: int) -> str:
    if not math.isfinite(value) or value == 0:
        return _odd(value)
    rounded = float(f"{value:.{digits}g}")
    suffix, scale = max(
        ((s, f) for s, f in scales.items() if abs(rounded) >= f), key=lambda p: p[1], default=("", 1.0)
    )
    scaled = rounded / scale
    if abs(scaled) >= 1e4 or abs(scaled) < 1e-3:
        return format_flops(value, digits)
    return f"{_plain(scaled, digits).replace(',', '')}{suffix}"  # 1,000T would read back as 1T, too


def _plain(value: float, digits: int) -> str:
    """`digits` significant digits without an exponent and without trailing zeros after the point."""
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _odd(value: float) -> str:
    return "0" if value == 0 else ("unbounded" if math.isinf(value) else "not known")


_COUNT = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def format_params(n_params: float, digits: int = 3) -> str:
    """7B, 69.8B, 125M."""
    return _format_scaled(n_params, _COUNT, digits)


def format_tokens(n_tokens: float, digits: int = 3) -> str:
    """1.4T, 300B."""
    return _format_scaled(n_tokens, _COUNT, digits)


def format_dollars(usd: float, digits: int = 3) -> str:
    """$25k, $1.2M."""
    return f"${_format_scaled(usd, _COUNT, digits)}"


def format_bytes(n_bytes: float, digits: int = 3) -> str:
    """80 GB (1e9 bytes): the unit accelerators are sold in."""
    text = _format_scaled(n_bytes, {" kB": 1e3, " MB": 1e6, " GB": 1e9, " TB": 1e12, " PB": 1e15}, digits)
    return text if text[-1:] == "B" else f"{text} B"


def format_duration(seconds: float, digits: int = 3) -> str:
    """45 s, 12 min, 3.5 h, 14 days, 2.3 years."""
    if not math.isfinite(seconds) or seconds == 0:
        return _odd(seconds)
    for most, unit, name in ((90, 1.0, "s"), (90, MINUTE, "min"), (48, HOUR, "h"), (730, DAY, "days")):
        if seconds < most * unit:
            shown = _plain(seconds / unit, digits)
            return tr("{n} days", n=shown) if name == "days" else f"{shown} {name}"
    return tr("{n} years", n=_format_scaled(seconds / YEAR, _COUNT, digits))


def format_percent(fraction: float, digits: int = 2) -> str:
    """0.057 → 5.7 %; below a millionth 4.3e-13 %."""
    if not math.isfinite(fraction) or fraction == 0:
        return f"{_odd(fraction)} %" if fraction == 0 else _odd(fraction)
    if abs(fraction) < 1e-6:
        return f"{format_flops(100 * fraction, digits)} %"
    return f"{_plain(100 * fraction, digits)} %"


def digits_by_error(value: float, half_width: float, digits: int = 2) -> int:
    """Significant digits of a value that `digits` digits of its error justify.

    Never fewer for a smaller error: from `digits`, where the error is as large as the value or has no bound, to
    MOST_DIGITS, where it is nothing. An error that is not known (NaN) gives UNSURE_DIGITS.
    """
    if math.isnan(half_width):
        return UNSURE_DIGITS
    if math.isinf(half_width) or half_width <= 0 or value == 0:
        return digits if half_width > 0 else MOST_DIGITS
    return min(MOST_DIGITS, max(digits, _exponent(value) - _exponent(half_width, digits) + digits))


def _exponent(value: float, digits: int = MOST_DIGITS) -> int:
    """Of ten, once the value is rounded to so many digits."""
    return int(f"{value:.{digits - 1}e}".split("e")[1])


def round_by_error(value: float, half_width: float, digits: int = 2) -> str:
    """The value with as many digits as two digits of its error justify: (0.51389, 0.0205) → '0.514'."""
    if not math.isfinite(value) or value == 0:
        return _odd(value)
    decimals = digits_by_error(value, half_width, digits) - 1 - _exponent(value)
    return f"{round(value, decimals):.{max(0, decimals)}f}"


def format_interval(low: float, high: float, formatter: Callable[[float], str], level: float = 0.95) -> str:
    """'95 %: 51B to 112B'; an unbounded end is said to be so."""
    percent = f"{100 * level:g} %"
    if math.isinf(high) and (low <= 0 or math.isinf(low)):
        return f"{percent}: unbounded, the runs do not determine it"
    if math.isinf(high):
        return f"{percent}: {formatter(low)} or more, no upper end"
    if math.isinf(low):
        return f"{percent}: {formatter(high)} or less, no lower end"
    return f"{percent}: {formatter(low)} to {formatter(high)}"
