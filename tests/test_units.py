"""Quantities read and printed: every kind, every wrong kind, and round trips."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling import units
from scaling.errors import ScalingError, UnitError

PARSERS = [
    units.parse_flops,
    units.parse_params,
    units.parse_tokens,
    units.parse_number,
    units.parse_bytes,
    units.parse_dollars,
    units.parse_duration,
]


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_flops, "1e21", 1e21),
        (units.parse_flops, "5.76e23 FLOPs", 5.76e23),
        (units.parse_flops, "1 ZFLOP", 1e21),
        (units.parse_flops, "1.5 exaflops", 1.5e18),
        (units.parse_flops, "11574 PF-days", 11574 * 8.64e19),  # Kaplan: 1 PF-day = 1e15 * 24 * 3600
        (units.parse_flops, "3*10^21", 3e21),
        (units.parse_flops, "1,000,000", 1e6),
        (units.parse_params, "7B", 7e9),
        (units.parse_params, "125M params", 125e6),
        (units.parse_params, "1_000_000", 1e6),
        (units.parse_params, "2.5 million", 2.5e6),
        (units.parse_params, 7e9, 7e9),
        (units.parse_tokens, "1.4T tokens", 1.4e12),
        (units.parse_tokens, "300Btokens", 300e9),
        (units.parse_dollars, "$25k", 25e3),
        (units.parse_dollars, "25,000 USD", 25e3),
        (units.parse_duration, "14d", 14 * 86400),
        (units.parse_duration, "1d 12h", 36 * 3600),
        (units.parse_duration, "90min", 5400),
        (units.parse_flops, "1,5e21", 1.5e21),
        (units.parse_flops, "1,5 ZFLOP", 1.5e21),
        (units.parse_flops, "11.574,5 PF-days", 11574.5 * 8.64e19),
        (units.parse_params, "7,5B", 7.5e9),
        (units.parse_params, "0,534B", 534e6),  # no thousands begin with a zero
        (units.parse_params, "1,234,567", 1234567),
        (units.parse_params, "1.234.567", 1234567),
        (units.parse_params, "1.234.567,5", 1234567.5),
        (units.parse_params, "1,234,567.5", 1234567.5),
        (units.parse_params, "1'234'567", 1234567),
        (units.parse_params, "1.400B", 1.4e9),  # a point is the decimal sign of options
        (units.parse_tokens, "1,4T", 1.4e12),
        (units.parse_tokens, "19,4941 billion tokens", 19.4941e9),
        (units.parse_number, "4,5", 4.5),
        (units.parse_dollars, "25,5k", 25.5e3),
        (units.parse_dollars, "$1,250,000", 1.25e6),
        (units.parse_duration, "1,5d", 1.5 * 86400),
        (units.parse_duration, "1,5d 2,25h", 38.25 * 3600),
        (units.parse_bytes, "1,5GB", 1.5e9),
        (units.parse_bytes, "80GB", 80e9),
        (units.parse_bytes, "24GiB", 24 * 2**30),
    ],
)
def test_parses(parse, text, value):
    assert parse(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (units.parse_flops, "1e21 tokens", "unit of tokens"),
        (units.parse_flops, "5 PFLOP/s", "is a rate"),
        (units.parse_flops, "10^400", "finite number above zero"),
        (units.parse_flops, "14d", "unit of time"),
        (units.parse_params, "7B tokens", "cannot be read as parameters"),
        (units.parse_params, "-3B", "above zero"),
        (units.parse_params, "0", "above zero"),
        (units.parse_params, "nan", "not a number"),
        (units.parse_params, float("nan"), "above zero"),
        (units.parse_params, float("inf"), "above zero"),
        (units.parse_params, "", "is empty"),
        (units.parse_params, "1,00,000", "misplaced separator"),
        (units.parse_params, "1,5,5", "misplaced separator"),
        (units.parse_params, "1.5.5", "misplaced separator"),
        (units.parse_params, "1,5.5", "misplaced separator"),
        (
            units.parse_params,
            "1,400",
            r"'1,400' could be 1\.400 or 1400: the comma could be a decimal sign or",
        ),
        (units.parse_params, "1,400B", r"could be 1\.400B or 1400B"),
        (units.parse_tokens, "-1,400", r"could be -1\.400 or -1400"),
        (units.parse_duration, "1d 1,400h", r"could be 1\.400h or 1400h"),
        (units.parse_dollars, "25,500k", r"could be 25\.500k or 25500k"),
        (units.parse_params, "7Q", "not a unit of parameters"),
        (units.parse_tokens, "7B params", "cannot be read as tokens"),
        (units.parse_duration, "14", "with a unit"),
        (units.parse_duration, "3M", "not a unit of time"),
        (units.parse_dollars, "€5", "US dollars"),
        (units.parse_bytes, "80", "no unit"),
    ],
)
def test_refuses_another_kind_and_says_why(parse, text, message):
    with pytest.raises(UnitError, match=message):
        parse(text)


@pytest.mark.parametrize(("text", "value"), [("50,257", 50257), ("4,096", 4096), ("32,5k", 32500)])
def test_a_count_has_no_decimals_so_its_comma_separates_thousands(text, value):
    assert units.parse_number(text, whole=True) == value


def test_both_readings_that_a_refusal_offers_are_read():
    for text in ("1,400", "1,400B", "20,500 million"):
        with pytest.raises(UnitError) as caught:
            units.parse_params(text)
        offered = str(caught.value).split(" could be ")[1].split(": ")[0].split(" or ")
        decimals, thousands = (units.parse_params(reading) for reading in offered)
        assert thousands == pytest.approx(1000 * decimals)


@given(
    st.integers(1, 10**12),
    st.integers(0, 4),
    st.sampled_from([(".", ""), (",", ""), (".", ","), (",", "."), (".", "'"), (",", "'")]),
    st.sampled_from(["", "k", "B", " million", "e3", " T tokens"]),
)
def test_a_number_under_any_locale_reads_as_itself_or_is_asked(digits, decimals, signs, unit):
    value = digits / 10**decimals
    decimal, thousands = signs
    written = f"{value:,.{decimals}f}".replace(",", "t").replace(".", decimal).replace("t", thousands)
    try:
        read = units.parse_tokens(written + unit)
    except UnitError as error:
        assert " could be " in str(error)
        return
    factor = units.parse_tokens(f"1{unit}")
    sign = "[.,]" if unit == "e3" else r"\."
    if re.fullmatch(rf"\d{{1,3}}{sign}\d{{3}}", written):  # what is read as a decimal under every locale
        assert read == pytest.approx(float(written.replace(",", ".")) * factor)
    else:
        assert read == pytest.approx(float(f"{value:.{decimals}f}") * factor, rel=1e-12)


def test_hardware_reads_count_name_and_time():
    assert units.parse_hardware("8xH100") == units.Hardware(8, "H100")
    assert units.parse_hardware("H100") == units.Hardware(1, "H100")
    assert units.parse_hardware("1024 x A100-80 for 14d") == units.Hardware(1024, "A100-80", 14 * 86400)


@pytest.mark.parametrize(
    "text", ["", "8", "0xH100", "-8xH100", "8xH100 for ever", "8.5xH100", "8,5xH100", "1,00xH100"]
)
def test_hardware_refuses(text):
    with pytest.raises(UnitError):
        units.parse_hardware(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.format_params(69.817e9), "69.8B"),
        (units.format_params(999.9e6), "1B"),
        (units.format_tokens(1.4e12), "1.4T"),
        (units.format_flops(5.76e23), "5.76e23"),
        (units.format_flops(1e21), "1e21"),
        (units.format_dollars(25000), "$25k"),
        (units.format_bytes(80e9), "80 GB"),
        (units.format_duration(14 * 86400), "14 days"),
        (units.format_percent(0.0571), "5.7 %"),
        (units.round_by_error(0.51389, 0.0205), "0.514"),
        (units.round_by_error(2085.4, 1321), "2100"),
        (units.round_by_error(1.81722, 0.026), "1.817"),
        (units.format_interval(51e9, 112e9, units.format_params), "95 %: 51B to 112B"),
        (units.format_interval(51e9, math.inf, units.format_params), "95 %: 51B or more, no upper end"),
    ],
)
def test_prints(text, expected):
    assert text == expected


ERRORS = st.one_of(st.sampled_from([0.0, math.inf]), st.floats(1e-30, 1e30))


def n_digits(text: str) -> int:
    """Significant digits shown; the zeros of a whole number only fill it up."""
    digits = text.split("e")[0].lstrip("-").replace(",", "")
    digits = digits if "." in digits else digits.rstrip("0")
    return len(digits.replace(".", "").lstrip("0"))


@given(st.floats(1e-6, 1e12), st.tuples(ERRORS, ERRORS))
def test_a_smaller_error_never_shows_fewer_digits(value, errors):
    small, large = sorted(errors)
    sure, unsure = units.digits_by_error(value, small), units.digits_by_error(value, large)
    assert 2 <= unsure <= sure <= 6
    shown = units.round_by_error(value, small)
    assert n_digits(shown) <= 7  # 999999.6 rounds up to one more
    assert float(shown) == pytest.approx(value, rel=10.0 ** (1 - sure))
    assert (
        abs(float(shown) - value)
        <= abs(float(units.round_by_error(value, large)) - value) * (1 + 1e-9) + 1e-300
    )


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.7, 0.0, "1.70000"),
        (1.7, 1e-9, "1.70000"),
        (1.714, 0.014, "1.714"),
        (380.0, 1e-12, "380.000"),
        (0.34, 0.0, "0.340000"),
        (0.034, 20.0, "0.034"),  # far below its own error
        (0.034, math.inf, "0.034"),
        (1.81722, math.nan, "1.817"),  # no error told
        (0.0, 0.1, "0"),
    ],
)
def test_digits_run_from_two_to_six(value, error, text):
    assert units.round_by_error(value, error) == text


@given(st.floats(min_value=1e-2, max_value=1e15))
def test_printed_parameters_read_back_within_three_digits(value):
    assert units.parse_params(units.format_params(value)) == pytest.approx(
        value, rel=6e-3
    )  # 3 digits: half of 1 %


@given(st.floats(min_value=1e3, max_value=1e30))
def test_printed_flops_read_back_within_three_digits(value):
    assert units.parse_flops(units.format_flops(value)) == pytest.approx(value, rel=6e-3)


@given(st.text(max_size=30), st.sampled_from([*PARSERS, units.parse_hardware]))
def test_any_text_gives_a_number_or_one_clear_error(text, parse):
    try:
        value = parse(text)
    except ScalingError as error:
        assert len(str(error)) > 20
        return
    assert isinstance(value, units.Hardware) or (math.isfinite(value) and value > 0)
