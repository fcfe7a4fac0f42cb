"""Training curves of a store: the trunk up to where a run branches off, then the run's own lines."""

from __future__ import annotations

import json
from pathlib import Path

from scaling.cli.report_source import store_curves
from scaling.runs import Runs
from scaling.sweep.store import Store


def _write(folder: Path, rows: list[tuple[int, float, float]], torn: str = "") -> None:
    (folder / "training").mkdir(parents=True)
    lines = [json.dumps({"kind": "train", "step": s, "n_tokens": n, "loss": v}) for s, n, v in rows]
    lines.append(json.dumps({"kind": "evaluation", "step": 9, "n_tokens": 5, "loss": 1.0}))
    (folder / "training" / "metrics.jsonl").write_text("\n".join(lines) + "\n" + torn)


def _runs(trunk: str) -> Runs:
    return Runs(
        n_params=[1e6], n_tokens=[40.0], flops=[6e6 * 40], loss=[2.0], run_id=("run",), trunk_id=(trunk,)
    )  # fmt: skip


def test_a_branch_goes_on_where_its_trunk_is_left(tmp_path: Path) -> None:
    store = Store(tmp_path)
    _write(store.trunks.run_dir("trunk"), [(10, 10.0, 5.0), (20, 20.0, 4.0), (30, 30.0, 3.5)])
    _write(store.run_dir("run"), [(30, 30.0, 3.0), (40, 40.0, 2.1)], torn='{"kind": "tra')
    curves = store_curves(store, _runs("trunk"))
    assert curves is not None
    assert curves.step is not None
    assert curves.step.tolist() == [10, 20, 30, 40]
    assert curves.loss.tolist() == [5.0, 4.0, 3.0, 2.1]
    assert curves.flops.tolist() == [6e7, 1.2e8, 1.8e8, 2.4e8]
    assert set(curves.run_id) == {"run"}


def test_a_store_that_kept_no_losses_has_no_curves(tmp_path: Path) -> None:
    assert store_curves(Store(tmp_path), _runs("run")) is None
