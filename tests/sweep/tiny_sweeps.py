"""Small specs, and logs of other tools, for the sweep tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scaling.sweep.spec import SweepSpec, sweep_from_dict

TINY: dict[str, Any] = {
    "schema_version": 1,
    "name": "tiny",
    "corpus": {"name": "synthetic:bits=4,seed=0", "context_length": 16, "vocab_size": 32},
    "grid": {
        "budgets": [4e7, 8e7],
        "sizes_per_budget": 3,
        "size_ratio": 2.0,
        "optimum_flops": 4e7,
        "optimum_params": 2000,
    },
    "shape": {"d_head": 4, "n_layers": 1},
    "recipe": {"batch_tokens": 128, "learning_rate": 0.01, "reference_params": 1000},
    "schedule": {"warmup_steps": 2},
    "evaluation": {"windows": 8},
}


def tiny_values(**sections: dict[str, Any]) -> dict[str, Any]:
    """TINY with keys of some sections replaced."""
    values = {k: dict(v) if isinstance(v, dict) else v for k, v in TINY.items()}
    for name, changes in sections.items():
        values[name] = {**values.get(name, {}), **changes}
    return values


def tiny_spec(**sections: dict[str, Any]) -> SweepSpec:
    return sweep_from_dict(tiny_values(**sections))


def write_toml(path: Path, values: dict[str, Any]) -> Path:
    """A spec as TOML, enough for the flat sections used here."""

    def text(value: Any) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return f"[{', '.join(text(v) for v in value)}]"
        return f'"{value}"' if isinstance(value, str) else repr(value)

    lines = [f"{k} = {text(v)}" for k, v in values.items() if not isinstance(v, dict)]
    for name, section in values.items():
        if isinstance(section, dict):
            lines += [f"[{name}]", *(f"{k} = {text(v)}" for k, v in section.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def falling(last: int, every: int = 20) -> list[tuple[int, float]]:
    """A loss that falls, for the logs of other tools."""
    return [(step, 4.0 - step / 100) for step in range(every, last + 1, every)]
