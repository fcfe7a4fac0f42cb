"""The style of figures: readable in grey, for colour-blind readers, and at the size of a column."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from scaling.blocks import Figure
from scaling.errors import UsageError
from scaling.plots import compose, draw_figures, figure_svg, style
from scaling.plots.marks import fences, spread, thinned

ROOT = Path(__file__).resolve().parents[2]
FLOPS = [1e18, 1e19, 1e20, 1e21]
LINE = Figure(
    "compute-optimal",
    {"flops": FLOPS, "n_params": [1e8, 3e8, 1e9, 3e9], "fitted_flops": [1e18, 1e20]},
    alt="N* over compute",
    titles=("N* grows as C^0.49 \N{PLUS-MINUS SIGN} 0.02\n1e21 FLOPs: N* = 3B (2B to 4B)",),
)
# Machado, Oliveira and Fernandes 2009: how a dichromat sees linear RGB (severity 1)
DICHROMATS = {
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB, white D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    t = np.clip(to_xyz @ np.clip(rgb, 0, 1), 0, None) / [0.9505, 1.0, 1.089]
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_contrast_is_that_of_the_web_guidelines() -> None:
    assert style.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert style.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # WebAIM's checker


@pytest.mark.parametrize("n", [1, 2, 5, 9, 14])
def test_every_colour_that_means_something_stands_out_from_the_paper(n: int) -> None:
    for colour in (*style.budget_colours(n), style.FIT, style.ACCENT, style.INK, style.MUTED):
        assert style.contrast(colour, style.PAPER) >= 3


def test_in_grey_the_accent_is_lighter_than_every_budget_and_than_the_fit() -> None:
    for colour in (*style.budget_colours(12), style.FIT, style.INK):
        assert style.luminance(style.ACCENT) > 1.2 * style.luminance(colour)


@pytest.mark.parametrize("sight", DICHROMATS)
def test_a_colour_blind_reader_tells_the_accent_from_every_budget(sight: str) -> None:
    seen = [lab(np.array(DICHROMATS[sight]) @ linear(c)) for c in (style.ACCENT, *style.budget_colours(9))]
    assert min(np.linalg.norm(seen[0] - other) for other in seen[1:]) > 20  # CIE76; 2.3 is just noticeable


def test_on_a_dark_page_every_colour_stands_out_as_on_white() -> None:
    dark = "#16181c"
    for colour in (*style.budget_colours(6), style.FIT, style.ACCENT, style.MUTED, style.INK):
        there = style.contrast(style.on_dark(colour, dark), dark)
        assert there == pytest.approx(style.contrast(colour, style.PAPER), rel=0.03)
    assert style.on_dark(style.PAPER, dark) == dark


@pytest.mark.parametrize(("size", "inches"), [("column", 3.25), ("page", 6.5), ("slide", 6.67)])
def test_text_is_readable_at_the_size_it_is_printed(size: str, inches: float) -> None:
    drawing = compose([LINE], size=size)
    assert drawing.get_figwidth() == pytest.approx(inches)
    drawing.canvas.draw()
    shown = [t for t in drawing.findobj(Text) if t.get_text() and t.get_visible()]
    assert len(shown) > 8
    assert min(t.get_fontsize() for t in shown) >= 7


def test_a_slide_is_as_wide_as_a_screen() -> None:
    width, height = compose([LINE], size="slide").get_size_inches()
    assert width / height == pytest.approx(16 / 9, rel=0.01)


def test_an_unknown_size_names_the_three() -> None:
    with pytest.raises(UsageError, match="column, page, slide; got 'poster'"):
        compose([LINE], size="poster")


def test_nothing_that_is_drawn_leaves_the_sheet() -> None:
    for size in style.SIZES:
        drawing = compose([LINE, LINE], size=size)
        drawing.canvas.draw()
        inside = drawing.bbox
        for ax in drawing.axes:
            box = ax.get_tightbbox()
            assert box is not None
            assert box.x0 >= inside.x0 - 1
            assert box.x1 <= inside.x1 + 1
            assert box.y0 >= inside.y0 - 1
            assert box.y1 <= inside.y1 + 1


def test_the_title_is_the_claim_and_the_number_stands_below_it() -> None:
    (ax,) = compose([LINE]).axes
    assert ax.get_title(loc="left") == "N* grows as C^0.49 \N{PLUS-MINUS SIGN} 0.02"
    assert "1e21 FLOPs: N* = 3B (2B to 4B)" in [t.get_text() for t in ax.texts]


def test_a_name_with_dollar_signs_is_no_formula() -> None:
    figure = LINE._replace(titles=("costs $x_1$ and $2\nor $y",))
    assert "costs $x_1$ and $2" in figure_svg(figure)


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_the_same_figures_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("once", "again"):
        draw_figures([LINE], tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"once.{suffix}").read_bytes() == (tmp_path / f"again.{suffix}").read_bytes()


def test_a_folder_gets_a_file_a_figure(tmp_path: Path) -> None:
    written = draw_figures([LINE, LINE], tmp_path / "figures")
    assert [path.name for path in written] == ["compute-optimal.svg", "compute-optimal-2.svg"]
    assert all(path.read_text(encoding="utf-8").startswith("<?xml") for path in written)


def test_on_a_web_page_every_colour_is_light_or_dark_as_the_page_is() -> None:
    svg = figure_svg(LINE, dark_too=True)
    assert not re.search(r"(?:fill|stroke): #", svg)
    used = set(re.findall(r"var\((--c\d+)\)", svg))
    assert used == set(re.findall(r"(--c\d+): light-dark\(", svg))
    assert "light-dark" not in figure_svg(LINE)


def test_thinning_keeps_the_extremes_and_says_so() -> None:
    random = np.random.default_rng(0)
    x, y = random.uniform(1e8, 1e10, 100_000), random.normal(size=100_000)
    y[777] = 40.0
    kept = thinned(x, y, 500)
    assert len(kept) <= 500
    assert 777 in kept
    assert int(np.argmin(y)) in kept
    assert x[kept].min() < 1.1 * x.min()
    assert list(thinned(x[:20], y[:20], 500)) == list(range(20))


def test_fences_leave_out_few_far_values_but_not_a_tenth_of_them() -> None:
    values = np.concatenate([np.linspace(2, 3, 100), [50.0]])
    assert fences(values) == (2.0, 3.0)
    many = np.concatenate([np.linspace(2, 3, 80), np.full(20, 50.0)])
    assert fences(many)[1] == 50.0
    assert fences(np.full(5, 2.5)) == (2.5, 2.5)


def test_labels_are_moved_apart_and_keep_their_order() -> None:
    moved = spread([0.5, 0.51, 0.52, 0.9], 0.1)
    assert all(b - a >= 0.1 - 1e-12 for a, b in pairwise(moved))
    crowded = spread([0.93, 0.95, 0.96], 0.05)
    assert max(crowded) <= 0.97
    assert all(b - a >= 0.05 - 1e-12 for a, b in pairwise(crowded))


def test_a_backend_that_turns_itself_on_inside_our_settings_stays_on(tmp_path: Path) -> None:
    """As a notebook's does when the first figure loads it; only then are later figures shown."""
    (tmp_path / "turns_on.py").write_text(
        "import matplotlib\nfrom matplotlib.backends.backend_agg import *\nmatplotlib.interactive(True)\n"
    )
    code = (
        "import matplotlib, scaling\n"
        "before = dict(matplotlib.rcParams)\n"
        "scaling.fit_isoflop(scaling.example_runs()).plot()\n"
        "assert matplotlib.is_interactive()\n"
        "assert {k for k in before if before[k] != matplotlib.rcParams[k]} <= {'interactive', 'backend'}\n"
    )
    env = {**os.environ, "MPLBACKEND": "module://turns_on", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
