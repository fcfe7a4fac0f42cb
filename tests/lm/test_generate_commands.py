from __future__ import annotations

import json
import math
import shutil
from io import StringIO

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from matplotlib.figure import Figure
from toy_tables import TableModel

from scaling.architecture import Architecture
from scaling.cli.decode import decode
from scaling.cli.generate import generate
from scaling.errors import DataError, UsageError
from scaling.lm import build_model, save_model
from scaling.lm.explain import explain_decoding
from scaling.lm.tokenization import ByteTokenizer, save_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = ByteTokenizer()
    a = Architecture(n_layers=1, d_model=16, n_heads=2, vocab_size=tokenizer.vocab_size, context_length=40)
    path = save_model(build_model(a, init_std=0.1), tmp_path_factory.mktemp("model"))
    save_tokenizer(tokenizer, path / "tokenizer.json")
    return str(path)


def run(command, *arguments):
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


def test_text_follows_the_prompt_and_repeats_by_seed(folder):
    first, again = (run(generate, folder, "hola", "--max-new-tokens", "8", "--seed", "3") for _ in range(2))

    assert first.exit_code == 0
    assert first.stdout.startswith("hola")
    assert first.stdout == again.stdout
    assert "strategy: Sample(transforms=(), seed=3)" in first.stderr


def test_json_holds_ids_and_logprobs(folder):
    out = run(
        generate,
        folder,
        "a",
        "--max-new-tokens",
        "5",
        "-n",
        "3",
        "--top-k",
        "4",
        "--temperature",
        "0.5",
        "--json",
    )
    made = json.loads(out.stdout)

    assert "Temperature(tau=0.5), TopK(k=4)" in made["strategy"]
    assert len(made["generations"]) == 3
    for g in made["generations"]:
        assert math.fsum(g["token_logprobs"]) == pytest.approx(g["logprob"])


def test_beams_are_listed_best_first(folder):
    out = run(generate, folder, "a", "--beams", "3", "-n", "3", "--max-new-tokens", "4", "--json")
    scores = [g["score"] for g in json.loads(out.stdout)["generations"]]

    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--greedy", "--top-k", "5"], UsageError, "greedy decoding cannot feel"),
        (["--greedy", "--beams", "2"], UsageError, "contradict each other"),
        (["--length-penalty", "1"], UsageError, "belongs to beam search"),
        (["--device", "tpu"], UsageError, "device 'tpu' is none"),
        (["--device", "meta"], UsageError, "device 'meta' is none"),
        (["--seed", "-1"], UsageError, "a seed is a whole number >= 0, got -1"),
        (["--max-new-tokens", "0"], UsageError, "max_new_tokens must be >= 1"),
    ],
)
def test_contradictions_are_told(folder, arguments, error, message):
    with pytest.raises(error, match=message):
        run(generate, folder, "a", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ids", "1 b"], "takes whole numbers"),
        (["--ids", ""], "takes whole numbers"),
        (["--ids", "1 2", "hola"], "contradict each other"),
        (["\udcff\udcfe"], "is not UTF-8"),
    ],
)
def test_what_is_no_prompt_is_told(folder, arguments, message):
    with pytest.raises(UsageError, match=message):
        run(generate, folder, *arguments)


def test_a_damaged_model_is_told(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:3000])
    shutil.copytree(folder, tmp_path / "other")
    described = tmp_path / "other" / "architecture.json"
    described.write_text(described.read_text().replace('"n_heads": 2', '"n_heads": 3'))

    with pytest.raises(DataError, match=r"model\.safetensors is not a readable safetensors file"):
        run(generate, str(tmp_path / "cut"), "a")
    with pytest.raises(DataError, match=r"architecture\.json describes no architecture"):
        run(generate, str(tmp_path / "other"), "a")


def test_an_error_comes_before_the_prompt_is_echoed(folder):
    out = CliRunner().invoke(generate, [folder, "x" * 60, "--max-new-tokens", "8"])  # longer than the context

    assert isinstance(out.exception, UsageError)
    assert out.stdout == ""


@pytest.mark.parametrize("choice", [["--greedy"], [], ["--top-k", "3"], ["--beams", "2"]])
def test_a_model_of_nan_is_told_and_prints_nothing(choice, tmp_path):
    tokenizer = ByteTokenizer()
    a = Architecture(n_layers=1, d_model=16, n_heads=2, vocab_size=tokenizer.vocab_size, context_length=40)
    model = build_model(a)
    with torch.no_grad():
        model.tokens.weight.fill_(float("nan"))
    save_tokenizer(tokenizer, save_model(model, tmp_path) / "tokenizer.json")
    out = CliRunner().invoke(generate, [str(tmp_path), "a", "--max-new-tokens", "5", *choice])

    assert isinstance(out.exception, DataError)
    assert "are not finite" in str(out.exception)
    assert out.stdout == ""


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        run(generate, str(tmp_path / "none"), "a")
    (tmp_path / "checkpoint.safetensors").touch()
    with pytest.raises(DataError, match="is not finished"):
        run(generate, str(tmp_path), "a")


def test_a_model_without_text_takes_ids(tmp_path):
    a = Architecture(n_layers=1, d_model=16, n_heads=2, vocab_size=30, context_length=40)
    save_model(build_model(a), tmp_path)

    assert (
        len(
            run(generate, str(tmp_path), "--ids", "1 2", "--max-new-tokens", "4")
            .stdout.split("\n")[1]
            .split()
        )
        == 4
    )
    with pytest.raises(UsageError, match="pass --ids"):
        run(generate, str(tmp_path), "hola")


WALK = TableModel("abcdefg", {
    "": {"a": 1.0}, "a": {"b": 0.5, "c": 0.4, "d": 0.1}, "ab": {"e": 0.55, "d": 0.25, "g": 0.2},
    "ac": {"f": 0.6, "d": 0.2, "g": 0.2}, "ad": {"g": 1.0},
})  # fmt: skip


def test_explanation_shows_the_probabilities_and_both_cuts():
    seen = explain_decoding(
        WALK, WALK, "a", temperatures=(0.5, 1.0), top_k=2, top_p=0.55, n_steps=2, n_bars=3
    )
    cold, plain = seen.next_token

    assert [(b.piece, round(b.probability, 3)) for b in plain.bars] == [("b", 0.5), ("c", 0.4), ("d", 0.1)]
    assert cold.bars[0].probability == pytest.approx(0.25 / (0.25 + 0.16 + 0.01))
    assert [(at.n_top_k, at.n_nucleus) for at in seen.next_token] == [(2, 1), (2, 2)]
    assert (plain.top_k_mass, plain.nucleus_mass) == (pytest.approx(0.9), pytest.approx(0.9))
    assert (cold.n_others, cold.others_mass) == (4, 0)
    assert [WALK.decode(ids) for ids in seen.tree.beams()[0]] == ["b", "c"]
    assert (seen.best_text, seen.best_logprob) == ("be", pytest.approx(math.log(0.5 * 0.55), abs=1e-6))


def test_explain_prints_bars_and_a_tree_and_draws(folder, tmp_path):
    picture = tmp_path / "explain.png"
    arguments = ["explain", "hola", "--model", folder, "--bars", "4", "--plot", str(picture)]
    out = run(decode, *arguments, "--show", "temperatures,beams")

    assert "temperature 4: top-5 keeps" in out.stdout
    assert "  253 others  0." in out.stdout
    tree = out.stdout.split("beam search, N = 2")[1].splitlines()
    assert tree[1] == "  'hola'"
    assert [line.count("●") + line.count("·") + line.count("■") for line in tree[2:-1]] == [1] * 12
    assert sum(line.endswith("best") for line in tree) == 1
    assert max(map(len, out.stdout.splitlines())) <= 100
    assert picture.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="pass --force"):
        run(decode, *arguments)


@pytest.mark.parametrize("width", [72, 80, 100, 140])
def test_explain_begins_with_the_likeliest_tokens_on_one_screen(folder, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    out = run(decode, "explain", "hola", "--model", folder, "--steps", "10").stdout
    table = pd.read_csv(StringIO(run(decode, "explain", "hola", "--model", folder, "--csv").stdout))

    assert len(out.splitlines()) <= 20
    assert max(map(len, out.splitlines())) <= width
    first = table.groupby("temperature").first().reset_index()
    assert f"{first['probability'][0]:.3g}" in out
    assert "at T = 4" in out
    assert len(table) == 3 * 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "0"], "for the limit 0 use Greedy"),
        (["--top-p", "2"], "top-p must lie in"),
        (["--top-k", "0"], "whole number >= 1"),
        (["--plot", "tree.txt"], "does not end in a kind of picture"),
        (["--steps", "60"], "exceed the context of 40"),
    ],
)
def test_what_explain_cannot_do_is_told(folder, arguments, message):
    with pytest.raises(UsageError, match=message):
        run(decode, "explain", "hola", "--model", folder, *arguments)


def test_a_screen_holds_long_prompts_many_steps_and_control_characters(folder):
    prompt = "\x1b[31m" + "x" * 9
    arguments = ["explain", prompt, "--model", folder, "--steps", "24", "--bars", "1", "--show", "all"]
    out = run(decode, *arguments).stdout

    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 100


def walk_axes(**options):
    from scaling.plots import draw_figure

    seen = explain_decoding(WALK, WALK, "a", n_steps=2, **options)
    return seen, [draw_figure(figure, ax=Figure().subplots()) for figure in seen.figures()]


def test_the_tree_picture_tells_what_was_dropped_from_what_went_on():
    seen, (_, ax) = walk_axes()
    texts = {
        text.get_text().split()[0]: text for text in ax.texts[1:] if text.get_gid() is None
    }  # after the prompt

    assert (
        len(ax.lines)
        == len([text for text in ax.texts if text.get_gid() is None]) - 1
        == sum(map(len, seen.tree.steps))
        == 7
    )
    assert texts["d"].get_bbox_patch().get_edgecolor()[3] == 0  # no box
    assert texts["b"].get_bbox_patch().get_facecolor() != texts["e"].get_bbox_patch().get_facecolor()
    assert {piece for piece, text in texts.items() if text.get_weight() == "bold"} == set(
        WALK.decode(seen.best_ids)
    )
    assert f"ln p {seen.best_logprob:.2f}" in ax.get_title(loc="left")


def test_no_two_texts_of_the_tree_share_a_place():
    _, (_, ax) = walk_axes()
    texts = [text for text in ax.texts if text.get_gid() is None]

    assert len({text.get_position() for text in texts}) == len(texts)


def test_a_search_of_many_steps_drops_the_numbers_that_have_no_room():
    from scaling.plots import compose

    figure = explain_decoding(WALK, WALK, "a", n_steps=2).figures()[1]
    deep = {**figure.data, "node_step": [10 * step for step in figure.data["node_step"]]}
    for data, has_numbers in ((figure.data, True), (deep, False)):
        (ax,) = compose([figure._replace(data=data)], size="column").axes
        assert any("\N{MINUS SIGN}" in text.get_text() for text in ax.texts) == has_numbers


def test_lines_stand_below_what_the_cuts_keep():
    seen, (ax, _) = walk_axes(temperatures=(0.5,), top_k=2, top_p=0.55, n_bars=3)

    at = sorted(line.get_ydata()[0] for line in ax.lines if len(line.get_ydata()))
    assert at == [0.5, 1.5]  # the nucleus keeps 1, top-k 2
    assert [bar.get_width() for bar in ax.patches] == [bar.probability for bar in seen.next_token[0].bars]
    assert "nucleus of 1" in ax.get_title(loc="left")


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        (" la", "␣la"),
        ("\n", "\\n"),
        ("", "∅"),
        ("你", "U+4F60"),
        ("\x1b", "U+1B"),
        ("x" * 30, "x" * 11 + "…"),
    ],
)
def test_every_token_has_a_readable_label(piece, shown):
    from scaling.plots.decoding import label

    assert label(piece) == shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.344, "34 %"), (0.0352, "3.5 %"), (0.00038, "0.038 %"), (1e-9, "< 0.001 %"), (0.9966, "99.7 %"),
     (0.99999, "> 99.9 %"), (1.0, "100 %"), (0.0, "0 %")],
)  # fmt: skip
def test_shares_show_two_digits_of_what_is_small(p, shown):
    from scaling.plots.decoding import percent

    assert percent(p) == shown
