"""The first screen of `scaling plan`: its size at every width, and that its numbers are those of the JSON."""

from __future__ import annotations

import csv
import json
import re
import shlex
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from scaling.blocks import screen
from scaling.cli.plan import next_command, plan, read_options
from scaling.errors import ScalingError
from scaling.planning.plan import plan_training
from scaling.planning.result import Plan
from scaling.reference import find_law
from scaling.render.terminal import render_terminal
from scaling.units import format_params

WIDTHS = (72, 80, 100, 140)
MOST_LINES = 20


def _number(low: float, high: float) -> st.SearchStrategy[str]:
    return st.floats(low, high).map(lambda exponent: f"{10**exponent:.3g}")


_budgets = st.one_of(
    st.fixed_dictionaries({"flops": _number(12, 32)}),
    st.fixed_dictionaries({"flops": _number(17, 26)}),
    st.fixed_dictionaries({"time": st.sampled_from(["14d", "36h"]), "hardware": st.sampled_from(["8xH100", "1024xA100"])}),
    st.fixed_dictionaries({"dollars": st.sampled_from(["25k", "1M"]), "hardware": st.sampled_from(["H100", "8xRTX4090"])}),
    st.fixed_dictionaries({"target_loss": st.floats(1.9, 3.5).map(lambda loss: f"{loss:.3g}")}),
    st.fixed_dictionaries({"params": _number(7, 12)}),
    st.fixed_dictionaries({"tokens": _number(9, 13)}),
    st.fixed_dictionaries({"params": _number(8, 12), "tokens": _number(9, 13)}),
    st.fixed_dictionaries({"params": _number(8, 12), "flops": _number(19, 25)}),
)  # fmt: skip
_options = st.dictionaries(
    st.sampled_from(["unique_tokens", "inference_tokens", "max_params", "max_memory"]),
    st.just(""),
    max_size=2,
).flatmap(
    lambda names: st.fixed_dictionaries(
        {name: st.just("24GB") if name == "max_memory" else _number(9, 13) for name in names}
    )
)
_laws = st.sampled_from(
    ["besiroglu", "besiroglu", "hoffmann", "llama3", "krajewski-dense", "deepseek", "20:1"]
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(budget=_budgets, options=_options, law=_laws)
def test_any_first_screen_fits_20_lines_of_any_width_and_tells_the_numbers_of_the_json(
    budget: dict[str, str], options: dict[str, str], law: str
) -> None:
    texts = {**budget, **options}
    try:
        parsed, cluster, constraints = read_options(texts)
        planned = plan_training(parsed, find_law(law), cluster=cluster, constraints=constraints)
    except ScalingError:
        assume(False)
    blocks = planned.summary(next_command=next_command(texts, law), figures=False)
    for width in WIDTHS:
        lines = render_terminal(screen(blocks), width=width).splitlines()
        assert len(lines) <= MOST_LINES, "\n".join(lines)
        assert max(map(len, lines)) <= width
    _assert_the_table_is_the_json(planned, lines)


def _assert_the_table_is_the_json(planned: Plan, lines: list[str]) -> None:
    said = planned.to_dict()
    names = {
        "parameters": "n_params",
        "tokens": "n_tokens",
        "tokens/param": "tokens_per_param",
        "loss": "loss",
    }
    for line in lines[1:]:
        name, *cells = re.split(r"\s{2,}", line.strip())
        if name not in {*names, "FLOPs"} or not cells:
            continue
        quantity = names.get(name, "flops")
        _assert_rounded(cells[0], said[quantity])
        ends = said["intervals"][quantity]
        if ends is not None and ends["low"] is not None and ends["high"] is not None:
            for text, value in zip(cells[1].split(" to "), (ends["low"], ends["high"]), strict=True):
                _assert_rounded(text, value)


def _assert_rounded(text: str, value: float) -> None:
    """The text is the value to the digits that it has: 5 % is half of the second digit of 10, the worst case."""
    assert _read(text) == pytest.approx(value, rel=0.051), (text, format_params(value))


def _read(text: str) -> float:
    scales = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    digits = text.replace(",", "")
    return float(digits[:-1]) * scales[digits[-1]] if digits[-1] in scales else float(digits)


def _screen(line: str, *more: str) -> str:
    result = CliRunner().invoke(plan, [*shlex.split(line), *more])
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def test_every_number_of_the_usual_plan_is_that_of_the_json() -> None:
    said: dict[str, Any] = json.loads(_screen("--flops 1e21", "--json"))
    text = _screen("--flops 1e21")
    near, half = said["off_optimum"], next(a for a in said["alternatives"] if a["ratio"] == 0.5)
    others, cost = said["other_papers"], said["cost"]
    by_name = {law["name"]: law["n_params"] for law in said["other_laws"]}
    fits = next(row["total_bytes"] for row in said["memory"]["rows"] if row["fits"])
    sweep = said["next_runs"][0]
    expected = (
        f"{said['n_params'] / 1e9:.2f}B", f"{said['n_tokens'] / 1e9:.1f}B", f"{said['loss']:.4f}",
        f"{others['n_papers']} other papers",
        f"{others['n_params_low'] / 1e9:.1f}B to {others['n_params_high'] / 1e9:.1f}B",
        f"({by_name[others['least']] / 1e9:.1f}B to {by_name[others['most']] / 1e9:.0f}B)",
        f"{near['n_params_low'] / 1e9:.2f}B to {near['n_params_high'] / 1e9:.2f}B",
        f"{half['n_params'] / 1e9:.1f}B on {half['n_tokens'] / 1e9:.0f}B",
        f"+{100 * half['extra_compute']:.0f} % compute, repaid by serving {half['break_even_tokens'] / 1e9:.0f}B",
        f"{said['architecture']['n_layers']} layers x {said['architecture']['d_model']:,}",
        f"{said['schedule']['n_steps']:,} steps", f"lr {said['schedule']['learning_rate']:g}",
        f"{fits / 1e9:.1f} GB each", f"{cost['seconds'][1] / 86400:.1f} days",
        f"${cost['usd'][0] / 1e3:.1f}k to ${cost['usd'][1] / 1e3:.1f}k", f"{cost['energy_kwh'][1]:.0f} kWh",
        f"cut the interval by {100 * (1 - sweep['width_left']):.0f} %",
    )  # fmt: skip
    for part in expected:
        assert part in text, part


def test_the_less_needed_lines_make_room_for_doubts() -> None:
    plain, doubted = _screen("--flops 1e21"), _screen("--flops 1e28")
    assert "recipe" in plain
    assert "and 2 more: --show doubts" in doubted
    assert "recipe" not in doubted.partition("--show")[0]
    assert "  run  " in doubted
    assert "learning rate" in _screen("--flops 1e28", "--show", "build")


@pytest.mark.parametrize(
    "line", ["--flops 1e21", "--target-loss 2.0 --inference-tokens 2T", "--params 7B --tokens 1T"]
)
def test_show_all_holds_what_the_first_screen_leaves_out(line: str) -> None:
    text = " ".join(_screen(line, "--show", "all").split())
    for said in (
        "arXiv:2404.10102", "N counts total parameters", "one vote each", "muennighoff", "repaid by serving",
        "off optimum", "heads of 128", "exact FLOPs", "OUTSIDE its range", "warm-up by Porian", "ZeRO-1", "FSDP",
        "at MFU", "x goodput 90 %", "prices of", "at board power", "FineWeb", "next runs", "pairs bootstrap",
        "C = 6 N D",
    ):  # fmt: skip
        assert said in text, said


def test_the_first_screen_has_no_word_to_look_up() -> None:
    text = _screen("--flops 1e21")
    for word in ("MFU", "goodput", "ZeRO", "FSDP", "Step Law", "bootstrap", "percentile", "SwiGLU", "arXiv"):
        assert word not in text


def test_options_that_ask_for_a_section_are_that_section() -> None:
    first = _screen("--flops 1e21")
    for option, section in (("--law all", "laws"), ("--explain", "formulas")):
        said = _screen(f"--flops 1e21 {option}")
        assert said.splitlines()[0].startswith("With 1e21 FLOPs, train 2.79B parameters")
        assert said.endswith(_screen(f"--flops 1e21 --show {section}"))
        assert len(said.splitlines()) > len(first.splitlines())
        assert _screen(f"--flops 1e21 --show cost {option}") == _screen(f"--flops 1e21 --show cost,{section}")
    assert " 0.1 " in _screen("--flops 1e21 --alternatives")
    assert " 0.1 " not in _screen("--flops 1e21 --show sizes")


def test_a_plan_as_a_table_is_one_row_of_the_json() -> None:
    header, row = (line.split(",") for line in _screen("--flops 1e21 --csv").splitlines())
    cells, said = dict(zip(header, row, strict=True)), json.loads(_screen("--flops 1e21 --json"))
    assert float(cells["n_params"]) == said["n_params"]
    assert float(cells["loss_low"]) == said["intervals"]["loss"]["low"]
    assert float(cells["usd_high"]) == said["cost"]["usd"][1]
    assert cells["flops_low"] == ""  # given


@pytest.mark.parametrize("form", ["markdown", "latex", "html"])
def test_a_plan_to_paste_is_a_row_a_quantity(form: str) -> None:
    said = _screen("--flops 1e21 --table", form)
    tidy = " ".join(said.replace("\\_", "_").split())
    row = {"markdown": "| n_layers | 24 |", "latex": "n_layers & 24", "html": ">n_layers</th>"}[form]
    assert row in tidy
    if form != "html":
        assert max(map(len, said.splitlines())) <= 80


def test_every_law_as_a_table_is_a_row_a_law() -> None:
    header, *rows = csv.reader(_screen("--flops 1e21 --law all --table csv").splitlines())
    said = {law["name"]: law["n_params"] for law in json.loads(_screen("--flops 1e21 --json"))["other_laws"]}
    assert header[0] == "law"
    assert {row[0]: float(row[header.index("n_params")]) for row in rows} == said
    text = _screen("--flops 1e21 --law all --table markdown")
    assert "| kaplan |" in " ".join(text.split())


def test_a_notebook_shows_the_sections_folded() -> None:
    html = plan_training(1e21)._repr_html_()
    assert html.index("With 1e21 FLOPs, train 2.79B parameters") < html.index("<details>")
    assert "<summary>Memory</summary>" in html
