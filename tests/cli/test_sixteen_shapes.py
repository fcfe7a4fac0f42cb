"""The sixteen shapes in which run tables are published, planted here: each is read by the command a user would try.

Unless a test says otherwise the losses come from E = 1.7, A = 380, B = 1700, alpha = .34, beta = .36 with .1 % noise on
25 runs of five budgets, so the exponent a of N* is .36 / (.34 + .36) = .5143.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from scaling.cli import cli, run

PLANTED_A = 0.36 / (0.34 + 0.36)
NOISE = 0.02  # the scatter of a at .1 % noise on 25 runs, generously
COEFFICIENTS = {"E": (1.7, 0.05), "alpha": (0.34, 0.02), "beta": (0.36, 0.02)}
BUDGETS = (1e18, 3e18, 1e19, 3e19, 1e20)


class Run(NamedTuple):
    budget: float
    N: float
    D: float
    loss: float


def _rounded(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")


def _loss(N: float, D: float) -> float:
    return 1.7 + 380 / N**0.34 + 1700 / D**0.36


def planted(seed: int = 1) -> list[Run]:
    rng, runs = Random(seed), []
    for C in BUDGETS:
        for i in range(5):
            N = _rounded(0.09 * math.sqrt(C) * 4 ** (i / 2 - 1))
            D = _rounded(C / (6 * N))
            runs.append(Run(C, N, D, round(_loss(N, D) * math.exp(rng.gauss(0, 0.001)), 4)))
    return runs


def write(folder: Path, name: str, lines: list[str]) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fit(*args: object) -> dict:
    result = CliRunner().invoke(cli, ["fit", *map(str, args), "--json"])
    assert result.exit_code == 0, result.output or result.exception
    return json.loads(result.stdout)


def notes(*args: object) -> str:
    return " ".join(CliRunner().invoke(cli, ["fit", *map(str, args)]).stderr.split())


def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    assert run(["fit", *map(str, args)]) == 3
    return capsys.readouterr().err


def assert_planted(answer: dict) -> None:
    assert answer["params_exponent"]["value"] == pytest.approx(PLANTED_A, abs=NOISE)
    for name, (value, within) in COEFFICIENTS.items():
        assert answer["coefficients"][name] == pytest.approx(value, abs=within), name
    assert answer["coefficients"]["B"] == pytest.approx(1700, rel=0.5)  # would not be, in another unit of D


def test_1_plain_with_names_of_its_own(tmp_path) -> None:
    rows = [f"{r.N / 1e6:.4g}M;{r.D / 1e9:.4g}B;{r.loss}" for r in planted()]
    assert_planted(fit(write(tmp_path, "a.csv", ["Model params;Dataset tokens;Test loss", *rows])))


def test_what_a_table_leaves_open_is_said_once_with_what_hangs_on_it(tmp_path) -> None:
    rows = [f"{r.N:.0f},{r.D:.0f},{r.loss}" for r in planted()]
    small = write(tmp_path, "a.csv", ["params,tokens,loss", *rows])
    assert "may count all parameters" not in notes(small)
    doubts = [f for f in fit(small)["findings"] if f["severity"] == "warning"]
    assert [f["code"] for f in doubts] == ["embedding-count"]
    own = write(tmp_path, "b.csv", ["n_params,n_tokens,loss", *rows])
    assert (
        "N counts total parameters (by its name alone)"
        in CliRunner().invoke(cli, ["fit", str(own), "--show", "data"]).stdout
    )
    large = [f"{100 * r.N:.0f},{100 * r.D:.0f},{_loss(100 * r.N, 100 * r.D):.5f}" for r in planted()]
    path = write(tmp_path, "c.csv", ["params,tokens,loss", *large])
    codes = {f["code"] for f in fit(path)["findings"] if f["severity"] == "warning"}
    assert "unknown-convention" in codes


HEADER_2 = "Name,State,config.model.params,throughput/total_tokens,eval/loss"


@pytest.mark.parametrize("state", ["crashed", "failed", "killed", "Running", "preempted"])
@pytest.mark.parametrize("empty", ["", "NaN"])
def test_2_run_table_of_wandb_with_crashed_rows(tmp_path, state, empty) -> None:
    rows = [f"r{i},finished,{r.N:.0f},{r.D:.0f},{r.loss}" for i, r in enumerate(planted())]
    rows[3], rows[7] = f"r3,{state},{planted()[3].N:.0f},,{empty}", f"r7,{state},,,{empty}"
    path = write(tmp_path, "a.csv", [HEADER_2, *rows])
    answer = fit(path)
    assert_planted(answer)
    assert answer["n_runs"] == 23
    assert answer["excluded"] == ["r3", "r7"]
    assert f"left out 2 runs (r3, r7) without a loss: State says {state}" in notes(path)


def test_2_a_finished_run_without_a_loss_stops_and_a_crashed_one_with_a_loss_is_told(
    tmp_path, capsys
) -> None:
    rows = [f"r{i},finished,{r.N:.0f},{r.D:.0f},{r.loss}" for i, r in enumerate(planted())]
    gap = write(tmp_path, "gap.csv", [HEADER_2, f"{rows[0].rpartition(',')[0]},", *rows[1:]])
    assert "gap.csv, line 2, column eval/loss: is empty or NaN" in refusal(capsys, gap)
    early = write(tmp_path, "early.csv", [HEADER_2, rows[0].replace("finished", "crashed"), *rows[1:]])
    assert fit(early)["n_runs"] == 25
    assert "1 run (r0) stopped early (State)" in notes(early)
    assert "--exclude State=crashed" in notes(early)
    assert fit(early, "--exclude", "State=crashed")["n_runs"] == 24


def _panel(runs: list[Run], rest: list[str], steps: tuple[int, ...]) -> list[str]:
    """A panel of W&B: a column a run, its range beside it; a curve falls to its last loss at its last step."""
    names = [f"{r.N / 1e6:.4g}M_{text} - test/lm_loss" for r, text in zip(runs, rest, strict=True)]
    header = ",".join(['"Step"', *(f'"{n}{part}"' for n in names for part in ("", "__MIN", "__MAX"))])
    last = max(steps)
    rows = [
        ",".join([str(s), *(f"{r.loss + (last - s) / last:.4f}" for r in runs for _ in range(3))])
        for s in steps
    ]
    return [header, *rows]


def test_3_panel_of_wandb_with_parameters_and_tokens_in_the_names(tmp_path, capsys) -> None:
    runs = planted()
    lines = _panel(runs, [f"{r.D / 1e9:.4g}" for r in runs], (1000, 2000, 3000))
    path = write(tmp_path, "a.csv", lines)
    error = refusal(capsys, path)
    assert "--wide '{n_params}_{rest}'" in error
    assert len(error) < 700  # of fifty columns it names some
    assert "--wide '{n_params}_{rest}'" in refusal(capsys, path, "--wide", "run")
    assert_planted(fit(path, "--wide", "{n_params}_{tokens (B)} - test/lm_loss"))
    assert fit(path, "--wide", "{n_params}_{tokens (B)}")["n_runs"] == 25


def test_3_panel_of_wandb_with_the_parameters_alone(tmp_path) -> None:
    runs = [Run(0, N, math.inf, round(1.9 + 300 / N**0.34, 5)) for N in (2e7 * 2**k for k in range(9))]
    path = write(tmp_path, "a.csv", _panel(runs, ["1024"] * 9, (100, 200, 300)))
    answer = fit(path, "--wide", "{n_params}_{width} - test/lm_loss")
    assert answer["coefficients"]["E"] == pytest.approx(1.9, abs=0.01)
    assert answer["coefficients"]["alpha"] == pytest.approx(0.34, abs=0.01)
    assert fit(path, "--wide", "{n_params}_{rest}")["coefficients"] == answer["coefficients"]


def test_3_panel_of_wandb_with_tokens_by_steps(tmp_path) -> None:
    """Runs of one panel that stopped at steps of their own: the last filled row of each counts."""
    runs = planted()
    per_step = 1e6
    lines = [
        '"Step",' + ",".join(f'"{r.N / 1e6:.4g}M_x - loss","{r.N / 1e6:.4g}M_x - loss__MIN"' for r in runs)
    ]
    for i, r in enumerate(runs):
        cells = [f"{r.loss},{r.loss}" if k == i else "," for k in range(len(runs))]
        lines.append(f"{r.D / per_step:.0f}," + ",".join(cells))
    path = write(tmp_path, "a.csv", lines)
    assert_planted(fit(path, "--wide", "{n_params}_{rest}", "--tokens-per-step", "1M"))


def test_4_json_list_of_records(tmp_path) -> None:
    records = [{"num_params": int(r.N), "tokens": int(r.D), "val_loss": r.loss} for r in planted()]
    assert_planted(fit(write(tmp_path, "a.json", [json.dumps(records)])))


def test_5_nested_json_lines_in_bits_per_character(tmp_path, capsys) -> None:
    lines = [
        json.dumps({"arch": {"total_params": r.N}, "train": {"tokens": r.D}, "val_bpc": _rounded(r.loss / math.log(2), 6)})
        for r in planted()
    ]  # fmt: skip
    path = write(tmp_path, "a.jsonl", lines)
    error = refusal(capsys, path)
    assert "--loss-unit bits/token" in error
    assert "--loss-unit other" in error
    assert_planted(fit(path, "--loss-unit", "bits/token"))
    other = fit(path, "--loss-unit", "other")
    assert other["params_exponent"]["value"] == pytest.approx(PLANTED_A, abs=NOISE)


def test_6_budgets_and_tokens_without_sizes(tmp_path) -> None:
    rows = [f"{r.budget:.0e},d{64 * (i % 5 + 8)},{r.D:.4g},{r.loss},done" for i, r in enumerate(planted())]
    path = write(tmp_path, "a.csv", ["budget,width,tokens,loss,status", *rows])
    assert_planted(fit(path))
    assert "n_params = budget / (6 n_tokens)" in notes(path)
    valleys = fit(path, "--method", "isoflop")
    assert valleys["params_exponent"]["value"] == pytest.approx(PLANTED_A, abs=NOISE)


WIDE = "dim \\ budget," + ",".join(f"{C:.0e}" for C in BUDGETS)


def _wide_rows(names: list[str]) -> list[str]:
    sizes = [_rounded(2.2e7 * 2**i) for i in range(7)]
    return [
        ",".join([name, *(f"{_loss(N, C / (6 * N)):.4f}" for C in BUDGETS)])
        for name, N in zip(names or [f"{N / 1e6:.4g}M" for N in sizes], sizes, strict=True)
    ]


def test_7_wide_with_sizes_down_and_budgets_across(tmp_path, capsys) -> None:
    path = write(tmp_path, "a.csv", [WIDE, *_wide_rows([])])
    assert "--wide n_params/budget" in refusal(capsys, path)
    answer = fit(path, "--wide", "n_params/budget")
    assert answer["n_runs"] == 35
    assert_planted(answer)


def test_7_wide_with_widths_down_gives_the_frontier(tmp_path, capsys) -> None:
    path = write(tmp_path, "a.csv", [WIDE, *_wide_rows([f"d{2 ** (i / 2) * 512:.0f}" for i in range(7)])])
    assert "--wide budget" in refusal(capsys, path)
    assert "--best-of-cell" in refusal(capsys, path, "--wide", "budget")
    best = fit(path, "--wide", "budget", "--best-of-cell")
    # of L - E at the best N for C: C^-(alpha beta / (alpha + beta)); a grid of doublings misses the best by little
    assert best["coefficients"]["alpha"] == pytest.approx(0.34 * 0.36 / 0.70, abs=0.02)


def test_8_a_mixture_with_its_budget(tmp_path) -> None:
    rows = [
        f"{r.N:.4g},{r.N * (5 + i % 3):.4g},{r.D:.4g},{r.budget:.0e},{r.loss}"
        for i, r in enumerate(planted())
    ]
    path = write(tmp_path, "a.csv", ["active_params,total_params,tokens,budget,loss", *rows])
    assert_planted(fit(path))
    assert "active_params is N" in notes(path)
    assert (
        "N counts active parameters" in CliRunner().invoke(cli, ["fit", str(path), "--show", "data"]).stdout
    )


def test_9_a_grid_of_learning_rates(tmp_path) -> None:
    rates = (2e-4, 5e-4, 1e-3, 2.5e-3, 5e-3)
    rows = [
        f"{r.N:.4g},{r.D:.4g},{rate:g},256,0,{r.loss + 0.1 * abs(math.log(rate / 1e-3)):.4f}"
        for r in planted()
        for rate in rates
    ]
    path = write(tmp_path, "a.csv", ["N,D,lr,batch,seed,loss", *rows])
    assert any("--best-of-cell" in f["message"] for f in fit(path)["findings"])
    best = fit(path, "--best-of-cell")
    assert best["n_runs"] == 25
    assert_planted(best)


@pytest.mark.parametrize(
    "names", ["run,params,step,batch_size,seq_len,val_loss", "run,N,train/step,gbs,ctx,eval/loss"]
)
def test_10_curves_from_step_0_by_steps_batch_and_length(tmp_path, names) -> None:
    lines = [names]
    for i, r in enumerate(planted()):
        steps = r.D / (256 * 1024)
        for k in range(6):
            loss = r.loss + 0.3 * (5 - k) if k else 10.8
            lines.append(f"r{i},{r.N:.0f},{steps * k / 5:.0f},256,1024,{loss:.4f}")
    path = write(tmp_path, "a.csv", lines)
    answer = fit(path)
    assert answer["n_runs"] == 25
    assert_planted(answer)
    assert "left out 25 rows at step 0" in notes(path)


def test_11_loss_against_compute_alone(tmp_path) -> None:
    days = [_rounded(10 ** (k / 3 - 4)) for k in range(18)]
    rows = [f"{c:g},{1.8 + (2e18 / (c * 8.64e19)) ** 0.15:.4f}" for c in days]
    answer = fit(write(tmp_path, "a.csv", ["compute_pf_days,loss", *rows]))
    assert answer["law"]["family"] == "flops_power_law_floor"
    assert answer["coefficients"]["E"] == pytest.approx(1.8, abs=0.02)
    assert answer["coefficients"]["alpha"] == pytest.approx(0.15, abs=0.01)
    assert answer["coefficients"]["x_c"] == pytest.approx(2e18, rel=0.2)


def test_12_perplexities_of_a_few_sizes(tmp_path, capsys) -> None:
    sizes = [round(19494255 * 2.2**i) for i in range(8)]
    names = ("tiny", "mini", "small", "medium", "base", "large", "xl", "xxl")
    rows = [f"{n},{N},{math.exp(1.9 + 300 / N**0.34):.4f}" for n, N in zip(names, sizes, strict=True)]
    path = write(tmp_path, "a.csv", ["model_size,num_params,val_ppl", *rows])
    assert "--loss-unit perplexity" in refusal(capsys, path)
    for law in ([], ["--law", "params_power_law_floor"]):
        answer = fit(path, "--loss-unit", "perplexity", *law)
        assert answer["law"]["family"] == "params_power_law_floor"
        assert answer["coefficients"]["E"] == pytest.approx(1.9, abs=0.01)
        assert answer["coefficients"]["alpha"] == pytest.approx(0.34, abs=0.01)


def test_13_loss_and_perplexity_side_by_side_and_words_beside_numbers(tmp_path) -> None:
    rows = [
        f"m{i},{r.N / 1e6:.4g},{r.D / 1e9:.4g},{r.loss},{math.exp(r.loss):.2f}"
        for i, r in enumerate(planted())
    ]
    assert_planted(fit(write(tmp_path, "a.csv", ["model_size,Params (M),Tokens (B),Loss,PPL", *rows])))


def test_14_samples_and_an_error_rate(tmp_path, capsys) -> None:
    rng, rows = Random(2), []
    for i, r in enumerate(planted()):
        samples = _rounded(r.D / 1000)
        error = (0.05 + 20 / r.N**0.34 + 0.9 / samples**0.2) * math.exp(rng.gauss(0, 0.001))
        rows.append(f"vit{i},{r.N / 1e6:.4g},{samples:.0f},{3 * r.N / 1e9:.3g},{error:.5f}")
    path = write(tmp_path, "a.csv", ["arch,Mparams,samples,gflops,error", *rows])
    assert "no column for loss" in refusal(capsys, path)
    options = ("--column", "n_tokens=samples", "--column", "loss=error", "--loss-unit", "other")
    answer = fit(path, *options)
    assert answer["coefficients"]["alpha"] == pytest.approx(0.34, abs=0.03)
    assert answer["coefficients"]["beta"] == pytest.approx(0.2, abs=0.03)
    assert "gflops is not read as training FLOPs" in notes(path, *options)


def test_15_a_table_of_nanochat(tmp_path) -> None:
    rows = [
        f"{r.budget:.0e},{6 + 2 * (i % 5)},{r.N:.0f},{r.D:.0f},{r.loss / math.log(2) / 4.5:.6f}"
        for i, r in enumerate(planted())
    ]
    path = write(tmp_path, "a.csv", ["flops_budget,depth,num_scaling_params,tokens_trained,val_bpb", *rows])
    imported = tmp_path / "runs.csv"
    command = ["sweep", "import", "nanochat", path, "--bytes-per-token", "4.5", "-o", imported]
    assert CliRunner().invoke(cli, list(map(str, command))).exit_code == 0
    assert_planted(fit(imported))
    in_bits = ("--loss-unit", "bits/byte", "--bytes-per-token", "4.5")
    assert_planted(fit(path, *in_bits))
    assert "num_scaling_params is not understood" in notes(path, *in_bits)


def test_16_a_spreadsheet_of_a_decimal_comma_locale(tmp_path) -> None:
    rows = [f"{r.N / 1e6:.3f};{r.D / 1e9:.3f};{r.loss:.3f}".replace(".", ",") for r in planted()]
    path = write(tmp_path, "a.csv", ["Parámetros (M);Tokens (B);Pérdida", *rows])
    assert_planted(fit(path))
    assert "commas are decimal signs" in notes(path)


@pytest.mark.parametrize("as_text", [False, True])
def test_16_a_workbook(tmp_path, as_text) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["Parámetros (M)", "Tokens (B)", "Pérdida"])
    for r in planted():
        numbers = (r.N / 1e6, r.D / 1e9, r.loss)
        book.active.append([f"{v:.3f}".replace(".", ",") for v in numbers] if as_text else list(numbers))
    book.save(tmp_path / "a.xlsx")
    assert_planted(fit(tmp_path / "a.xlsx"))
