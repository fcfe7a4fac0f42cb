"""The page to explore in a real Chromium: what a reader turns, what follows, and what the page must never do."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from browser import chromium

from scaling import fit_parametric
from scaling.cli import run
from scaling.page import write_page
from scaling.reference import resolve_law
from scaling.reference.example import example_runs
from scaling.report import load_catalogue
from scaling.translation import translated

pytestmark = pytest.mark.engine

MOST_BYTES = 400_000
CONTROLS = (
    "slider",
    "flops",
    "lawName",
    "accelerator",
    "nAccelerators",
    "pricePerHour",
    "mfu",
    "servedTokens",
)

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture
def opened(browser: Any, file: Path) -> Iterator[Open]:
    """Open the page; in the end it has asked for nothing, and said nothing on the console."""
    contexts: list[Any] = []
    said: list[str] = []

    def open_it(path: Path = file, hash: str = "", **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on(
            "request",
            lambda request: said.append(request.url) if request.url.split("#")[0] != path.as_uri() else 0,
        )
        tab.goto(path.as_uri() + hash)
        return tab

    yield open_it
    for context in contexts:
        context.close()
    assert said == []


def plan_json(capsys: pytest.CaptureFixture[str], command: str) -> dict[str, Any]:
    import shlex

    capsys.readouterr()
    assert run([*shlex.split(command)[1:], "--json"]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def value_of(text: str) -> float:
    match = re.match(r"([\d.]+)([kMBTQ]?)", text)
    assert match is not None
    return float(match[1]) * {"": 1, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "Q": 1e15}[match[2]]


def first_line(tab: Any) -> str:
    return str(tab.locator(".said .first").inner_text())


def test_the_keyboard_moves_the_budget_and_the_plan_follows(
    opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    tab = opened()
    before, dot = first_line(tab), tab.locator(".valleys .here").get_attribute("cx")
    ticks = tab.locator(".map text").all_inner_texts()
    tab.focus("[name=slider]")
    for _ in range(30):
        tab.keyboard.press("ArrowRight")
    assert first_line(tab) != before
    assert (
        tab.locator(".map text").all_inner_texts(),
        tab.locator(".valleys .here").get_attribute("cx"),
    ) != (ticks, dot)
    flops = float(tab.input_value("[name=flops]"))
    assert flops == pytest.approx(10**21.3, rel=0.01)
    plan = plan_json(capsys, tab.inner_text(".command"))
    n, d = re.findall(r"([\d.]+[kMBTQ]?) (?:parameters|tokens)", first_line(tab))
    assert value_of(n) == pytest.approx(plan["n_params"], rel=0.006)
    assert value_of(d) == pytest.approx(plan["n_tokens"], rel=0.006)
    assert f"{plan['loss']:.4f}" in tab.inner_text(".said")


def test_another_law_and_hardware_are_those_of_the_command(
    opened: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    tab = opened()
    tab.select_option("[name=lawName]", "hoffmann")
    tab.select_option("[name=accelerator]", "A100 SXM 80GB" if tab.query_selector("option[value='A100 SXM 80GB']") else
                      tab.locator("[name=accelerator] option").nth(2).get_attribute("value"))  # fmt: skip
    tab.fill("[name=nAccelerators]", "64")
    tab.fill("[name=pricePerHour]", "2")
    tab.fill("[name=mfu]", "40 %")
    tab.fill("[name=servedTokens]", "2T")
    plan = plan_json(capsys, tab.inner_text(".command"))
    assert plan["law"]["name"] == "hoffmann" if isinstance(plan.get("law"), dict) else True
    said = tab.inner_text(".said")
    assert value_of(first_line(tab).split()[1]) == pytest.approx(plan["n_params"], rel=0.006)
    assert "64 x " in said
    assert "No interval is published" in said
    tab.select_option("[name=lawName]", "20:1")  # the optimum alone: no valleys, nothing to serve
    assert tab.locator("figure:has(.valleys)").is_hidden()
    assert tab.is_disabled("[name=servedTokens]")


def test_a_shared_address_shows_the_same_plan(opened: Open) -> None:
    tab = opened()
    tab.fill("[name=flops]", "3.2e23")
    tab.select_option("[name=lawName]", "besiroglu-all")
    tab.fill("[name=servedTokens]", "5T")
    address, said = tab.evaluate("location.href"), tab.inner_text(".explore")
    assert "flops=3.2e23" in address
    again = opened(hash=address.partition("#")[1] + address.partition("#")[2])
    assert again.inner_text(".explore") == said
    assert again.input_value("[name=lawName]") == "besiroglu-all"


def test_what_is_no_budget_is_said_beside_its_field_and_changes_nothing(opened: Open) -> None:
    tab = opened()
    before = first_line(tab)
    for wrong, said in (
        ("many", "from 1e15"),
        ("-3", "from 1e15"),
        ("1e99", "to 1e30"),
        ("", "Give a budget"),
    ):
        tab.fill("[name=flops]", wrong)
        assert said in tab.inner_text("#explore-flops-fault")
        assert tab.get_attribute("[name=flops]", "aria-invalid") == "true"
        assert first_line(tab) == before
    tab.fill("[name=flops]", "1e22")
    assert tab.inner_text("#explore-flops-fault") == ""
    assert first_line(tab) != before
    tab.fill("[name=nAccelerators]", "2.5")
    assert "whole" in tab.inner_text("#explore-nAccelerators-fault")


def test_a_plan_that_a_faulty_field_has_outlived_says_so(opened: Open) -> None:
    tab = opened()
    assert tab.inner_text(".stale-note") == ""
    tab.fill("[name=mfu]", "7")
    assert "mend it" in tab.inner_text(".stale-note")
    assert "stale" in (tab.get_attribute(".explore", "class") or "")
    tab.fill("[name=mfu]", "0.4")
    assert tab.inner_text(".stale-note") == ""
    assert "stale" not in (tab.get_attribute(".explore", "class") or "")


def test_more_accelerators_than_any_cluster_has_are_no_plan(opened: Open) -> None:
    tab = opened()
    tab.fill("[name=nAccelerators]", "200000")
    assert "largest cluster" not in tab.inner_text(".said")
    tab.fill("[name=nAccelerators]", "1000000")
    assert "More than the 200k accelerators of the largest cluster known." in tab.inner_text(".said")


def test_the_slider_says_its_budget_and_reaches_the_ends_of_the_field(opened: Open) -> None:
    tab = opened()
    assert tab.get_attribute("[name=slider]", "aria-valuetext") == "1e21 FLOPs"
    for key, flops in (("Home", "1e15"), ("End", "1e30")):
        tab.focus("[name=slider]")
        tab.keyboard.press(key)
        assert tab.get_attribute("[name=slider]", "aria-valuetext") == f"{flops} FLOPs"
        assert tab.input_value("[name=flops]") == flops


def test_a_budget_is_read_in_the_units_of_the_command(opened: Open) -> None:
    tab = opened()
    for written, flops in (("2 ZFLOP", "2e21"), ("3e20 FLOPs", "3e20"), ("5000 EFLOPs", "5e21")):
        tab.fill("[name=flops]", written)
        assert f"with {flops} FLOPs" in first_line(tab)
    tab.fill("[name=flops]", "1e15")
    assert "times below the compute of the smallest run" in tab.inner_text(".said")


def test_a_decimal_comma_is_a_fault_and_not_ten_times_as_much(opened: Open) -> None:
    tab = opened()
    for name, wrong in (("flops", "1,5e21"), ("pricePerHour", "2,5"), ("servedTokens", "1,5T")):
        tab.fill(f"[name={name}]", wrong)
        assert "decimal point" in tab.inner_text(f"#explore-{name}-fault")
        tab.fill(f"[name={name}]", {"flops": "1.5e21", "pricePerHour": "2.5", "servedTokens": ""}[name])
    assert "1.5e21" in first_line(tab)
    tab.fill("[name=nAccelerators]", "1,024")
    assert "1,024 x " in tab.inner_text(".said")


def test_what_the_planner_refuses_is_no_model_here(opened: Open, capsys: pytest.CaptureFixture[str]) -> None:
    tab = opened(hash="#flops=1e21&served=1e20")
    assert "no language model" in first_line(tab)
    assert run(["plan", "--flops", "1e21", "--inference-tokens", "1e20"]) != 0
    assert "not a language model" in capsys.readouterr().err
    tab.fill("[name=servedTokens]", "1e11")
    assert "1e21 FLOPs, serving included" in first_line(tab)


def test_a_link_that_names_no_budget_is_read(opened: Open) -> None:
    tab = opened(hash="#law=hoffmann&mfu=0.5")
    assert tab.input_value("[name=lawName]") == "hoffmann"
    assert tab.input_value("[name=mfu]") == "0.5"
    assert tab.input_value("[name=flops]") == "1e21"


def test_the_command_is_copied_as_it_is_shown(opened: Open) -> None:
    tab = opened(permissions=["clipboard-read", "clipboard-write"])
    shown = tab.inner_text(".command")
    assert shown.startswith("scaling plan --flops 1e21 --law besiroglu --hardware ")
    tab.click(".copy")
    tab.wait_for_function("document.querySelector('.copy').textContent !== 'Copy the command'")
    if tab.inner_text(".copy") == "Copied":
        assert tab.evaluate("navigator.clipboard.readText()") == shown
    else:
        assert tab.evaluate("getSelection().toString()").strip() == shown


def test_on_a_phone_the_answer_stands_before_the_controls(opened: Open) -> None:
    tab = opened(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    answer, slider = tab.locator(".said").bounding_box(), tab.locator("[name=slider]").bounding_box()
    assert answer["y"] < slider["y"]
    assert answer["y"] + 60 < 844
    for name in ("flops", "lawName", "mfu"):
        assert tab.locator(f"[name={name}]").bounding_box()["height"] >= 44


def test_a_law_of_the_optimum_alone_says_why_it_has_no_valleys(opened: Open) -> None:
    tab = opened()
    assert tab.inner_text(".no-valleys") == ""
    tab.select_option("[name=lawName]", "20:1")
    assert "knows the optimum of a budget alone" in tab.inner_text(".no-valleys")


def test_each_law_is_named_with_its_paper(opened: Open) -> None:
    options = opened().locator("[name=lawName] option").all_inner_texts()
    assert "hoffmann (Hoffmann et al. 2022)" in options


def test_a_table_of_runs_is_fitted_and_stands_on_both_pictures(
    opened: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, file = tmp_path / "runs.csv", tmp_path / "page.html"
    assert run(["demo", "--write", str(table)]) == 0
    assert run(["page", str(table), "-o", str(file), "--flops", "1e20"]) == 0
    tab = opened(file)
    assert tab.locator(".map .run").count() > 20
    assert tab.locator(".valleys .run").count() > 5
    command = tab.inner_text(".command")
    assert command.startswith(f"scaling fit {table} -o fit.json && scaling plan --flops 1e20 --law fit.json ")
    fit = tmp_path / "fit.json"  # as the two commands say
    assert run(["fit", str(table), "-o", str(fit)]) == 0
    plan = plan_json(capsys, f"scaling plan --flops 1e20 --law {fit}")
    assert value_of(first_line(tab).split()[1]) == pytest.approx(plan["n_params"], rel=0.006)
    tab.select_option("[name=lawName]", "hoffmann")  # not of these runs
    assert tab.locator(".map .run").count() == 0
    both = tmp_path / "both.html"
    assert run(["page", str(fit), "--runs", str(table), "-o", str(both)]) == 0
    assert opened(both).locator(".map .run").count() > 5


def test_a_report_holds_the_page_with_its_own_law_and_runs(opened: Open, tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    table = tmp_path / "runs.csv"
    assert run(["demo", "--write", str(table)]) == 0
    where = [
        "report",
        str(table),
        "--target",
        "1e20",
        "--bootstrap",
        "100",
        "--format",
        "html",
        "--lang",
        "es",
    ]
    assert run([*where, "-o", str(tmp_path / "report")]) == 0
    file = tmp_path / "report" / "report.html"
    tab = opened(file, bypass_csp=True)
    answer = tab.locator(".answer").inner_text()
    assert first_line(tab).split()[1] in answer  # the parameters, with the digits that both show
    assert tab.locator(".map .run").count() > 20
    assert "en el corpus de sus ejecuciones" in tab.inner_text(".said")
    tab.fill("[name=flops]", "1e21")
    assert "1e21" in first_line(tab)
    assert [v["id"] for v in Axe().run(tab).response["violations"]] == []
    assert run([*where, "--no-run-data", "-o", str(tmp_path / "bare")]) == 0
    assert opened(tmp_path / "bare" / "report.html").locator(".map .run").count() == 0


def test_an_address_that_says_nonsense_is_taken_for_what_it_can_be(opened: Open) -> None:
    tab = opened(hash="#flops=1e22&law=<img src=x onerror=alert(1)>&mfu=7&served=x&hardware=none")
    assert (tab.input_value("[name=flops]"), tab.input_value("[name=lawName]")) == ("1e22", "besiroglu")
    told = tab.inner_text(".link-note")
    assert "asked for <img src=x onerror=alert(1)>, which this page does not have" in told
    assert "asked for none, which" in told
    assert tab.input_value("[name=mfu]") == ""


def test_every_control_is_named_and_reached_by_the_tab_key(opened: Open) -> None:
    tab = opened()
    reached = []
    for _ in range(len(CONTROLS)):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.name"))
    assert tuple(reached) == CONTROLS
    for name in CONTROLS:
        assert (
            tab.evaluate("(n) => document.querySelector(`[name=${n}]`).labels.length", name)
            or name == "slider"
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_and_nothing_runs_over(opened: Open, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    tab = opened(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    tab.fill("[name=flops]", "1e25")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(tab)
    assert [v["id"] for v in found.response["violations"]] == []


def test_a_fit_of_ones_own_comes_first_with_its_interval_in_spanish(opened: Open, tmp_path: Path) -> None:
    runs = example_runs()
    assert run(["demo", "--write", str(tmp_path / "runs.csv")]) == 0
    assert run(["fit", str(tmp_path / "runs.csv"), "-o", str(tmp_path / "law.json")]) == 0
    law = resolve_law(str(tmp_path / "law.json"))
    catalogue = load_catalogue("es")
    with translated(catalogue):
        page = write_page(
            tmp_path / "own.html", law, flops=1e22, runs=runs, law_file="law.json", language="es"
        )
    assert catalogue.untranslated == {}
    assert page.stat().st_size <= MOST_BYTES
    tab = opened(page)
    assert "Entrene" in first_line(tab)
    assert "Intervalo del 95 %" in tab.inner_text(".said")
    assert tab.locator(".map .run").count() > 0
    assert "--law law.json" in tab.inner_text(".command")
    assert tab.evaluate("document.documentElement.lang") == "es"


def test_names_of_a_law_are_text(opened: Open, tmp_path: Path) -> None:
    from dataclasses import replace

    law = fit_parametric(example_runs()).law
    hostile = "</script><img src=x onerror=alert(1)>'\"&"
    named = replace(law, provenance=law.provenance._replace(name=hostile, source=hostile))
    tab = opened(write_page(tmp_path / "hostile.html", named))
    assert tab.locator("img").count() == 0
    assert tab.input_value("[name=lawName]") == hostile
    assert hostile in tab.inner_text("tbody")


def test_the_command_writes_a_page_of_few_bytes_and_refuses_to_overwrite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["page", "hoffmann", "--flops", "1e22"]) == 0
    assert "wrote page.html" in capsys.readouterr().out
    first = (tmp_path / "page.html").read_bytes()
    assert len(first) <= MOST_BYTES
    assert b"http://" not in first.replace(b"http://www.w3.org/2000/svg", b"")
    assert run(["page"]) == 2
    assert run(["page", "hoffmann", "--flops", "1e22", "--force"]) == 0
    assert (tmp_path / "page.html").read_bytes() == first
    for wrong in (["--flops", "1e9"], ["nolaw"], ["kaplan-n"], ["--lang", "xx"]):
        capsys.readouterr()
        assert run(["page", *wrong, "-o", "new.html"]) != 0
        assert capsys.readouterr().err.startswith("error: ")
        assert not (tmp_path / "new.html").exists()
