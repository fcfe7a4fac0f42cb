"""What `scaling sweep` says on the way: hints one can paste, few lines, one clear line for a wrong path."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaling.cli import run
from scaling.cli.sweep import sweep
from scaling.cli.sweep_run import TimeLeft
from sweeps import SPEC, planted

HINT = re.compile(r"(scaling sweep [^`\n]+)")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a user who likes spaces: a spec in `my sweep`, a store to be in `big disk`."""
    (tmp_path / "my sweep").mkdir()
    (tmp_path / "my sweep" / "sweep.toml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Both streams of a command."""
    capsys.readouterr()
    run(["sweep", *words])
    return "".join(capsys.readouterr())


def test_every_hint_can_be_pasted_into_a_shell(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from scaling.sweep import worker

    train = worker.train_job
    monkeypatch.setattr(worker, "train_job", lambda job: 1 / 0)
    here = ["my sweep", "--store", "big disk"]
    texts = [said(capsys, "init", "other sweep"), said(capsys, "design", "my sweep", "--no-measure")]
    texts += [said(capsys, command, *here) for command in ("status", "fit", "verify")]
    texts.append(said(capsys, "export", *here, "-o", "out"))
    texts.append(said(capsys, "run", *here, "--executor", "inline"))
    texts += [said(capsys, command, *here) for command in ("status", "retry", "status")]
    monkeypatch.setattr(worker, "train_job", train)
    texts.append(said(capsys, "run", *here, "--executor", "inline", "--quiet"))
    hints = {hint for text in texts for hint in HINT.findall(text)}
    on_store = {
        f"scaling sweep {verb} 'my sweep' --store 'big disk'" for verb in ("run", "retry", "status", "fit")
    }
    assert hints >= on_store | {
        "scaling sweep design 'other sweep/sweep.toml'",
        "scaling sweep design 'my sweep'",
        "scaling sweep run 'my sweep'",
    }
    for hint in hints:
        words = shlex.split(hint)[1:]
        assert run(words) in (0, 3), hint  # 3: two valleys are too few for `fit`


def test_what_a_design_is_doubted_for_takes_one_line_before_a_run(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    spec = place / "my sweep" / "sweep.toml"
    spec.write_text(SPEC.replace("sizes_per_budget = 3", "sizes_per_budget = 4"))  # 3 would be an error
    assert run(["sweep", "run", "my sweep", "--executor", "inline"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("[")]
    assert lines == ["6 doubts about this design; read with:  scaling sweep design 'my sweep'"]


def test_errors_of_a_design_are_said_in_full_before_a_run(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    spec = place / "my sweep" / "sweep.toml"
    spec.write_text(SPEC.replace("[4e7, 8e7]", "[4e7]"))
    run(["sweep", "run", "my sweep", "--executor", "inline"])
    assert "few-budgets: 1 budget; 2 are the least for an exponent" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ("nodir/", 1, "there is no spec nodir; `scaling sweep init nodir` writes one to edit."),
        ("no dir", 1, "there is no spec no dir; `scaling sweep init 'no dir'` writes one to edit."),
        ("empty", 1, "there is no spec empty/sweep.toml; `scaling sweep init empty/sweep.toml` writes one to edit."),
        ("store", 2, "store is a store of runs; give the sweep.toml they were asked for by."),
        ("note.txt", 2, "note.txt: schema_version = 1 is missing; a sweep's spec begins with it."),
        ("note.txt/sweep.toml", 1, "note.txt/sweep.toml cannot be read: Not a directory. Give a sweep.toml or its folder."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["run", "show"])
def test_a_wrong_path_is_one_line_that_says_what_to_do(
    command: str,
    given: str,
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("store/runs").mkdir(parents=True)
    Path("note.txt").write_text("")
    assert run(["sweep", command, given]) == code
    assert capsys.readouterr().err == f"error: {says}\n"


def test_an_interrupted_sweep_says_how_to_go_on_and_a_running_one_does_not(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from scaling.cli.sweep_options import design_of, store_of
    from scaling.sweep.worker import add_runs

    design, store = design_of(Path("my sweep")), store_of(Path("my sweep"), None)
    store.root.mkdir()
    add_runs(store, design)
    go_on = "nothing runs; go on with:  scaling sweep run 'my sweep'\n"
    assert go_on in said(capsys, "status", "my sweep")
    lease = store.claim(design.runs[0].run_id)
    assert go_on not in said(capsys, "status", "my sweep")
    assert lease is not None
    store.release(lease, "told to stop")
    assert said(capsys, "status", "my sweep") == (
        f"tiny: 5 pending, 1 preempted; 0 % of the work done\n{go_on}"
    )


def test_the_time_left_goes_by_the_work_done_since_the_first_look() -> None:
    left = TimeLeft()
    assert left.seconds(0.5, 0.0) is None
    assert left.seconds(0.505, 10.0) is None  # too little to go by
    assert left.seconds(0.6, 20.0) == pytest.approx(80.0)  # 0.1 in 20 s, 0.4 to go


def test_verify_takes_every_option_of_run() -> None:
    options = {name: {p.name: p.opts for p in sweep.commands[name].params} for name in ("run", "verify")}
    assert options["verify"].items() >= options["run"].items()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """The folder of a finished sweep whose store lies on a file system that refuses to be written."""
    planted(tmp_path)
    store = tmp_path / "store"
    if os.geteuid() != 0:
        subprocess.run(["chmod", "-R", "a-w", str(store)], check=True)
        yield tmp_path
        subprocess.run(["chmod", "-R", "u+w", str(store)], check=True)
        return
    for options in (["--bind"], ["-o", "remount,ro,bind"]):  # root may write whatever its permissions
        if subprocess.run(["mount", *options, str(store), str(store)], check=False).returncode:
            pytest.skip("root needs to mount here, to have what it cannot write")
    yield tmp_path
    subprocess.run(["umount", str(store)], check=True)


def test_a_finished_sweep_on_a_read_only_store_can_be_run_looked_at_and_fitted(
    read_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = str(read_only)
    assert run(["sweep", "run", spec]) == 0
    captured = capsys.readouterr()
    assert "38 runs: 38 done, nothing to do\n" in captured.out
    assert "cannot be written: its table of runs stays as it is" in " ".join(captured.err.split())
    assert run(["sweep", "status", spec]) == 0
    assert "38 done; 100 % of the work done" in capsys.readouterr().out
    assert run(["sweep", "fit", spec]) == 0
    captured = capsys.readouterr()
    assert "tokens for 1.6e12 FLOPs" in captured.out
    (folder,) = re.findall(r"^wrote .* in (\S+)$", captured.out, re.MULTILINE)
    assert (Path(folder) / "law.json").is_file()
    shutil.rmtree(folder)
    assert f"{read_only}/store cannot be written" in " ".join(captured.err.split())
    assert run(["sweep", "export", spec, "-o", str(read_only / "out")]) == 0
    assert run(["sweep", "verify", spec, "--dry-run", "--no-measure"]) == 0


def test_an_unfinished_sweep_on_a_read_only_store_is_refused_in_one_line(
    read_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    spec = read_only / "sweep.toml"
    spec.write_text(spec.read_text().replace("budgets = [1.5e10", "budgets = [1e10, 1.5e10"))
    assert run(["sweep", "run", str(spec), "--quiet"]) == 1
    assert re.fullmatch(
        rf"error: {read_only}/store cannot be written \(.*\), and a sweep writes there\. Give another --store, or only "
        "look: `scaling sweep status`, `show` and `export` read\\.\n",
        capsys.readouterr().err,
    )
