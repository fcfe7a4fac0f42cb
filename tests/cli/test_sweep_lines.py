"""What a running sweep shows: the whole, and on a terminal each running run with the time it still takes."""

from __future__ import annotations

import pytest

from scaling.cli import sweep_run
from scaling.progress import Line
from scaling.sweep.progress import Status


def status(done: float, **under_way: float) -> Status:
    states = {**dict.fromkeys(under_way, "running"), "finished-run": "done"}
    return Status(states=states, work_flops=100.0, done_flops=done, under_way=under_way)  # type: ignore[arg-type]


def test_each_worker_has_a_line_with_the_time_left_of_its_own_run(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[Line]] = []
    monkeypatch.setattr(sweep_run, "can_draw", lambda: True)
    monkeypatch.setattr(sweep_run.Lines, "show", lambda self, lines: shown.append([*lines]))
    line = sweep_run.ProgressLine(enabled=True)
    line.show(status(10.0, a=0.2), 0.0)
    line.show(status(20.0, a=0.6, b=0.1), 10.0)
    line.show(status(30.0, b=0.5), 20.0)
    assert shown[0] == [Line("1/2 runs  1 running", 0.1, "10 %  "), Line("  a", 0.2, "20 %")]
    # 40 % of run a took 10 s, so the other 40 % take as long; of the sweep 10 % did, so 80 % take 80 s
    assert shown[1][:2] == [
        Line("1/3 runs  2 running", 0.2, "20 %  80 s left"),
        Line("  a", 0.6, "60 %  10 s left"),
    ]
    assert shown[1][2] == Line("  b", 0.1, "10 %")  # seen for the first time
    assert shown[2][1:] == [Line("  b", 0.5, "50 %  12 s left")]  # 40 % in the 10 s since


def test_a_pipe_gets_a_line_a_tenth_without_workers(capsys: pytest.CaptureFixture[str]) -> None:
    line = sweep_run.ProgressLine(enabled=True)
    for done in (0.0, 4.0, 9.0, 12.0, 15.0, 60.0):
        line.show(status(done, a=done / 100), done)
    lines = capsys.readouterr().err.splitlines()
    assert [text.split("] ")[1].split("  ")[0] for text in lines] == ["0 %", "12 %", "60 %"]
    assert all("  a" not in text for text in lines)
