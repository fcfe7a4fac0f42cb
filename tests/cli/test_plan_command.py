"""`scaling plan`: what it prints, its JSON, how it refuses, and what it does not import."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.cli import run
from scaling.cli.plan import plan

SHOWS = [
    "--flops 1e21",
    "--flops 5.76e23",
    "--hardware 8xH100 --time 14d",
    "--dollars 25k --hardware H100",
    "--target-loss 2.0 --inference-tokens 2T",
]
MORE = [
    "--params 7B",
    "--tokens 1T",
    "--params 7B --flops 1e21 --alternatives --law all",
    "--params 8B --tokens 15T --explain",
    "--flops 1e22 --unique-tokens 20B",
    "--flops 1e22 --max-memory 24GB",
    "--flops 1e22 --max-params 1B --vocab 128k --seq-len 8192",
    "--flops 1e21 --law llama3 --explain",
    "--flops 1e21 --law kaplan",
    "--flops 1e28",
    "--flops 1e16",
    "--hardware '8xH100 for 14d' --mfu 40% --goodput 1",
    "--flops 1e21 --hardware 4xFoo --peak-tflops 500 --price 2",
    "--params 70B --hardware 2xA100",
]


def _invoke(line: str, *more: str) -> Result:
    return CliRunner().invoke(plan, [*shlex.split(line), *more])


def _json(line: str) -> dict[str, Any]:
    result = _invoke(line, "--json")
    assert result.exit_code == 0, result.output
    payload: dict[str, Any] = json.loads(result.stdout)
    return payload


@pytest.mark.parametrize("line", SHOWS + MORE)
def test_text_fits_100_columns_and_has_no_nan(line: str) -> None:
    result = _invoke(line)
    assert result.exit_code == 0, result.output
    assert max(len(text) for text in _wrapped(result.output)) <= 100
    words = result.output.lower().replace("(", " ").split()
    assert not {"nan", "inf", "none"} & set(words)


def _wrapped(text: str) -> list[str]:
    """The lines but for the command to copy, which stays whole where no width is known."""
    return [line for line in text.splitlines() if not line.startswith("next  ")]


@pytest.mark.parametrize("line", SHOWS)
def test_the_first_screen_answers_the_question(line: str) -> None:
    answer, heading, *rest = _invoke(line).output.splitlines()
    assert "parameters on" in answer
    assert "besiroglu" in heading
    assert "95 %" in heading
    assert "other papers: half (all)" in heading
    screen = "\n".join(rest)
    for label in ("tokens/param", "build", "run", "more runs", "more", "next"):
        assert re.search(rf"^(  )?{label}\b", screen, re.MULTILINE), label


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--dollars 1k --hardware A10G", "$0.75 to $1.21 an hour (prices without a date)"),
        ("--flops 1e20 --hardware T4", "money no price is known for T4 16GB; give one in dollars"),
        (
            "--flops 1e20 --law deepseek",
            "N counts non-embedding FLOPs per token / 6, C = M D, attention counted",
        ),
        ("--flops 1e20 --hardware H100 --price 2", "at $2.00 an hour (price given)"),
    ],
)
def test_what_is_not_known_is_said(line: str, said: str) -> None:
    assert said in " ".join(_invoke(line, "--show", "all").stdout.split())


def test_quiet_prints_the_answer_only_and_which_parameters_it_counts() -> None:
    result = _invoke("--flops 1e21 --quiet")
    assert result.stdout == (
        "With 1e21 FLOPs, train 2.79B total parameters on 59.7B tokens.\n"
        "tokens/param 21.4, loss 2.3045 nats/token; 95 %: parameters 2.42B to 3.29B, tokens 50.6B to 68.8B,\n"
        "tokens/param 15.4 to 28.4, loss 2.2996 to 2.3101\n"
    )


@pytest.mark.parametrize("budget", ["--flops 1e21", "--params 7B", "--tokens 1T", "--target-loss 2.3"])
def test_the_answer_alone_says_which_parameters_it_counts(budget: str) -> None:
    """`--quiet` alone has the word: the full plan says it with the law."""
    full, alone = _invoke(budget).stdout.splitlines()[0], _invoke(f"{budget} --quiet").stdout.splitlines()[0]
    assert alone.replace("total parameters", "parameters") == full
    assert "total parameters" in alone
    assert "total parameters" not in full
    assert "N counts total parameters" in _invoke(budget, "--show", "sources").stdout.replace(
        "\n             ", " "
    )


def test_values_are_rounded_by_their_error() -> None:
    assert _invoke("--flops 5.76e23 --quiet").stdout.startswith(
        "With 5.76e23 FLOPs, train 73B total parameters on 1.31T tokens.\ntokens/param 18,"
    )


def test_json_has_the_contract() -> None:
    said = _json("--flops 1e21")
    assert said["schema_version"] == 1
    assert said["kind"] == "plan"
    assert said["law"]["name"] == "besiroglu"
    assert said["flops"] == 1e21
    assert said["tokens_per_param"] == pytest.approx(said["n_tokens"] / said["n_params"])
    assert said["intervals"]["level"] == 0.95
    ends = said["intervals"]["n_params"]
    assert ends["low"] < said["n_params"] < ends["high"]
    shape = said["architecture"]
    assert shape["n_params"] == pytest.approx(said["n_params"], rel=0.02)
    assert {"n_layers", "d_model", "n_heads", "d_ff", "vocab_size", "context_length"} <= set(shape)
    assert said["warnings"] == []
    assert {row["strategy"] for row in said["memory"]["rows"]} == {"ddp", "zero1", "zero2", "fsdp"}
    assert said["cost"]["price_date"]


def test_json_warnings_are_also_on_stderr() -> None:
    result = _invoke("--flops 5.76e23 --json")
    assert "extrapolation" in result.stderr
    assert json.loads(result.stdout)["warnings"]


def test_next_command_repeats_the_question_with_your_own_law() -> None:
    said = _json("--hardware '8xH100 for 14d'")["next_command"]
    assert said.endswith("scaling plan --hardware '8xH100 for 14d' --law fit.json")


def test_a_law_file_takes_the_place_of_a_name(tmp_path: Path) -> None:
    from scaling.reference import find_law, write_law

    path = tmp_path / "fit.json"
    write_law(find_law("besiroglu"), path)
    own, named = _json(f"--flops 1e21 --law {path}"), _json("--flops 1e21")
    assert own["n_params"] == named["n_params"]
    assert own["intervals"] == named["intervals"]


def test_intervals_are_objects_and_a_quantity_fixed_by_a_constraint_has_none() -> None:
    said = _json("--flops 1e21 --max-params 1M")["intervals"]
    assert (said["n_params"], said["n_tokens"], said["tokens_per_param"]) == (None, None, None)
    assert set(said["loss"]) == {"low", "high"}
    text = _invoke("--flops 1e21 --max-params 1M --quiet").stdout
    assert "; 95 %: loss" in " ".join(text.split())
    assert "over 99 %" in " ".join(text.split())


def test_a_law_of_non_embedding_parameters_says_so_in_the_first_sentence() -> None:
    line = "--flops 1e21 --law krajewski-dense"
    for more in ((), ("--quiet",)):
        answer = _invoke(line, *more).stdout.splitlines()[0]
        assert answer == "With 1e21 FLOPs, train 1.95B non-embedding parameters on 85.4B tokens."
    assert "the law leaves the vocabulary out: the model has 2.11B in all" in _invoke(line).stdout


def test_a_paper_has_one_vote_and_all_laws_stay_listed() -> None:
    said = _json("--flops 1e21")
    assert said["other_papers"]["n_papers"] == 8
    listed = _invoke("--flops 1e21 --law all").stdout
    for name in ("besiroglu-printed", "hoffmann-approach-1", "sardana-le100", "muennighoff-base"):
        assert f" {name} " in listed
        assert name in {law["name"] for law in said["other_laws"]}
    assert listed.endswith(_invoke("--flops 1e21 --show laws").stdout)
    assert "sardana-le" not in next(text for text in listed.splitlines() if text.startswith("other laws"))


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("--flops 1e21", "the middle half of 8"),
        ("--flops 1e22 --inference-tokens 2T", "asked the same, the middle half of 6"),
        ("--target-loss 2.0", "asked for the same loss, each on its own data and tokenizer"),
        ("--params 7B", "tokens and"),
        ("--flops 1e22 --max-params 1B", "about the optimum of 1e22 FLOPs without the cap"),
        ("--params 7B --tokens 1T", "about the optimum of 4.2e22 FLOPs without the given sizes"),
    ],
)
def test_the_line_of_other_laws_says_what_they_were_asked(line: str, asked: str) -> None:
    assert asked in " ".join(_invoke(line, "--show", "laws").stdout.partition("remark")[0].split())


@pytest.mark.parametrize(("params", "said"), [("7B", "% less than"), ("200B", "% more than")])
def test_given_sizes_are_judged_with_what_they_serve(params: str, said: str) -> None:
    line = f"--params {params} --tokens 2T --inference-tokens 10T"
    answer = " ".join(_invoke(line, "--quiet").stdout.split())
    assert f"{said} the optimum of its loss" in answer
    assert "waste" not in answer
    in_full = " ".join(_invoke(line, "--show", "sizes").stdout.split())
    assert f"{said} the training-optimal model of this loss" in in_full


def test_an_explanation_fits_the_terminal() -> None:
    lines = _invoke("--flops 1e22 --unique-tokens 50B --explain").stdout.splitlines()
    assert max(map(len, _wrapped("\n".join(lines)))) <= 100


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--flops 1e15", "five runs where this law begins (1.4e18 FLOPs each) cost over 25 %"),
        ("--flops 3e19", "no five runs for up to 23 % of this compute would shrink"),
        ("--flops 1e22 --unique-tokens 20B", "of the interval of N*, if the law holds"),
        ("--flops 1e21 --law llama3", "no interval to shrink"),
    ],
)
def test_next_runs_are_worth_it_or_say_why_none_is_named(line: str, said: str) -> None:
    assert said in " ".join(_invoke(line, "--show", "sources").stdout.partition("next runs")[2].split())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--flops 1e21", "5 of 2e18 FLOPs (1 % of it) cut the interval by 16 %"),
        ("--flops 1e15", "five would cost over 25 % of this compute"),
        ("--flops 3e19", "no five for up to 23 % of it would cut the interval by 5 %"),
    ],
)
def test_the_first_screen_says_whether_more_runs_pay(line: str, said: str) -> None:
    assert said in _invoke(line).stdout.partition("more runs")[2]


@pytest.mark.parametrize("line", ["--flops 1e28 --law hoffmann", "--flops 1e22 --unique-tokens 200M"])
def test_large_factors_are_written_out(line: str) -> None:
    for more in ((), ("--show", "all")):
        text = _invoke(line, *more).stdout
        assert not re.search(r"e\+\d+ (times|epochs)", text)
        assert re.search(r"\d (times|epochs)", text)


def test_a_picture_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import scaling.planning.plan

    monkeypatch.setattr(scaling.planning.plan, "plan_training", lambda *_, **__: pytest.fail("planned first"))
    (tmp_path / "plan.png").write_text("mine")
    for name, code in (("plan.png", 2), ("missing/plan.png", 1), ("plan.xyz", 2)):
        assert run(["plan", "--flops", "1e21", "--plot", str(tmp_path / name)]) == code
    assert (tmp_path / "plan.png").read_text() == "mine"


def test_a_picture_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    def stop(self: Figure, path: str, **_: object) -> None:
        Path(path).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", stop)
    (tmp_path / "plan.png").write_text("mine")
    assert run(["plan", "--flops", "1e21", "--quiet", "--force", "--plot", str(tmp_path / "plan.png")]) == 1
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("plan.png", "mine")]


def test_plot_is_written_and_never_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "plan.png"
    assert run(["plan", "--flops", "1e21", "--quiet", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert run(["plan", "--flops", "1e21", "--quiet", "--plot", str(path)]) == 2
    assert run(["plan", "--flops", "1e21", "--quiet", "--plot", str(path), "--force"]) == 0


def test_plot_needs_a_kind_of_picture_and_a_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "--flops", "1e21", "--plot", str(tmp_path / "plan.xyz")]) == 2
    assert "kind of picture" in capsys.readouterr().err
    assert run(["plan", "--flops", "1e21", "--law", "llama3", "--plot", str(tmp_path / "plan.png")]) == 1
    assert "knows only its optimum" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "code", "match"),
    [
        ("", 2, "exactly one budget"),
        ("--flops 1e21 --dollars 5k --hardware H100", 2, "--flops and --dollars"),
        ("--flops 7B", 2, "cannot be read as FLOPs"),
        ("--flops '7B params'", 2, "unit of parameters"),
        ("--flops '1e15 FLOP/s'", 2, "rate"),
        ("--params '7B tokens'", 2, "unit of tokens"),
        ("--flops abc", 2, "not a number of FLOPs"),
        ("--target-loss abc", 2, "'abc' is not a number; write for example 2.3."),
        (
            "--flops 1e21 --seq-len '3 GB'",
            2,
            "cannot be read as a number: 'gb' is a unit of bytes; write for example 4096",
        ),
        ("--flops 1e21 --mfu x", 2, "write for example 0.4 or 40%"),
        ("--flops 1e21 --unique-tokens 1", 1, "1 unique token is too few"),
        ("--flops 1e21 --inference-tokens 1e40", 1, "serving 1e40 tokens leaves a model of"),
        ("--flops -1", 2, "above zero"),
        ("--flops nan", 2, "not a number"),
        ("--flops 1e5", 1, "not a language model"),
        ("--flops 1e40", 1, "beyond any plan"),
        ("--flops 1e12", 1, "parameters"),
        ("--time 14d", 2, "--hardware"),
        ("--dollars 25k", 2, "--hardware"),
        ("--hardware 8xH100", 2, "add --time 14d or --dollars"),
        ("--flops 1e21 --mfu 0", 2, "--mfu"),
        ("--target-loss 0", 2, "--target-loss"),
        ("--flops 1e21 --vocab 1", 2, "vocabulary must hold between 2"),
        ("--flops 1e21 --unique-tokens 10", 1, "10 unique tokens are too few for 1e21 FLOPs"),
        ("--flops 416", 1, "416 FLOPs mean 1 parameter on 69.3 tokens"),
        ("--hardware 8xH10 --time 14d", 2, "did you mean"),
        ("--hardware 8xH100 --time 14", 2, "time with a unit"),
        ("--hardware 0xH100 --time 14d", 2, "between 1 and 10 million"),
        ("--flops 1e21 --mfu 40", 2, "0.4 or 40%"),
        ("--flops 1e21 --law besirolu", 2, "did you mean"),
        ("--flops 1e21 --law missing.json", 1, "no law file"),
        ("--target-loss 1.5", 1, "floor"),
        ("--target-loss '2 bits'", 2, "bits"),
        ("--flops 1e21 --max-memory 80", 2, "no unit"),
        ("--flops 1e21 --vocab 0.5", 2, "whole number"),
        ("--flops 1e21 --vocab 3.5", 2, "whole number"),
        ("--target-loss 2.0 --law llama3", 1, "carries no loss"),
        ("--params 7B --tokens 1T --flops 1e21", 2, "fix the run already"),
    ],
)
def test_careless_input_gets_one_line_that_says_what_to_do(
    line: str, code: int, match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", *shlex.split(line)]) == code
    said = capsys.readouterr().err
    assert match in said
    assert "Traceback" not in said


_text = st.one_of(
    st.builds(lambda m, e: f"{m:.3g}e{e}", st.floats(0.1, 10), st.integers(-5, 45)),
    st.builds(
        lambda m, s: f"{m:.3g}{s}",
        st.floats(0, 1000),
        st.sampled_from(["k", "M", "B", "T", " tokens", "GB", "d", "h", ""]),
    ),
    st.sampled_from(["nan", "inf", "-3", "", "0", "1e", "8xH100", "two", "７", "1 ZFLOP", "40%"]),
)
_names = st.sampled_from(
    ["--flops", "--time", "--dollars", "--target-loss", "--params", "--tokens", "--unique-tokens", "--max-params",
     "--max-memory", "--inference-tokens", "--seq-len", "--vocab", "--mfu", "--goodput", "--price", "--peak-tflops"]
)  # fmt: skip


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    options=st.dictionaries(_names, _text, min_size=1, max_size=4),
    hardware=st.booleans(),
    quiet=st.booleans(),
)
def test_any_options_give_a_plan_or_one_line(
    options: dict[str, str], hardware: bool, quiet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [part for name, value in options.items() for part in (name, value)]
    code = run(
        ["plan", *args, *(["--hardware", "8xH100"] if hardware else []), *(["--quiet"] if quiet else [])]
    )
    said = capsys.readouterr()
    assert code in (0, 1, 2)
    assert "Traceback" not in said.err
    if code == 0:
        assert "parameters" in said.out
        assert not {"nan", "none"} & set(said.out.lower().replace("(", " ").split())
    else:
        assert said.err.startswith("error:")


@pytest.mark.parametrize("show", ["", "all"])
def test_plan_imports_no_heavy_library(show: str) -> None:
    program = (
        f"import sys; from scaling.cli import run; code = run(['plan', '--flops', '1e21', '--show', '{show}']); "
        "heavy = {'numpy', 'scipy', 'pandas', 'matplotlib', 'torch', 'statsmodels'} & set(sys.modules); "
        "print(sorted(heavy), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_help_has_an_example_and_every_option() -> None:
    output = _invoke("--help").output
    assert "Example: scaling plan --flops 1e21" in output
    for option in ("--hardware", "--unique-tokens", "--inference-tokens", "--law", "--explain", "--json"):
        assert option in output
    assert max(map(len, output.splitlines())) <= 100


def test_no_number_in_json_is_undefined() -> None:
    for line in SHOWS + MORE:
        json.loads(
            _invoke(line, "--json").stdout, parse_constant=lambda name: pytest.fail(f"{name} in the JSON")
        )
    assert math.isfinite(_json("--flops 1e21")["loss"])


def test_own_runs_move_time_and_money(tmp_path: Path) -> None:
    log = tmp_path / "runs.csv"
    log.write_text(
        "n_params,n_tokens,accelerator,n_devices,hours\n1B,20B,NVIDIA A100-SXM4-80GB,8,60\n2B,40B,A100,8,240\n"
    )
    line = "--params 3B --tokens 60B --hardware 16xA100 --json"
    plain, calibrated = (
        json.loads(_invoke(line, *more).stdout)["cost"] for more in ((), ("--calibrate", str(log)))
    )
    assert calibrated["mfu_source"].startswith("as 2 own runs")
    assert (
        calibrated["accelerator_hours"][1] > 1.2 * plain["accelerator_hours"][1]
    )  # slower than whole runs are
    slow_ends = [cost["accelerator_hours"][2] / cost["accelerator_hours"][1] for cost in (plain, calibrated)]
    assert slow_ends[1] < slow_ends[0] == pytest.approx(1.7)
    assert plain["tuned_mfu"] == [0.39, 0.54, 0.64]  # llm-foundry, A100 80GB
