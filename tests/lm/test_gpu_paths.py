"""What a GPU run does differently, as far as a CPU can show it: compiled losses, bfloat16 products, its peak rate."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'isoflop[train]'")

from small_runs import make_spec  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from scaling.architecture import Architecture  # noqa: E402
from scaling.lm import device as devices  # noqa: E402
from scaling.lm.losses import linear_cross_entropy  # noqa: E402
from scaling.lm.run import TrainingOptions  # noqa: E402
from scaling.lm.training import train  # noqa: E402


class Products(TorchDispatchMode):
    """The dtypes of all matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: list[torch.dtype] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_):
            self.dtypes += [a.dtype for a in args[-2:]]
        return func(*args, **(kwargs or {}))


def test_all_products_of_the_output_matrix_are_in_bfloat16_under_autocast() -> None:
    torch.manual_seed(0)
    states = torch.randn(24, 16, requires_grad=True)
    weight = torch.randn(40, 16, requires_grad=True)
    targets = torch.randint(0, 40, (24,))
    with Products() as seen, torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(states, weight, targets, scale=1 / 24)
        loss.backward()
    assert len(seen.dtypes) >= 6
    assert set(seen.dtypes) == {torch.bfloat16}
    exact = torch.nn.functional.cross_entropy(states @ weight.T, targets)
    d_states, d_weight = torch.autograd.grad(exact, (states, weight))
    assert loss.item() == pytest.approx(exact.item(), rel=0.02)
    assert states.grad.dtype == weight.grad.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(states.grad.flatten(), d_states.flatten(), dim=0) > 0.999
    assert torch.nn.functional.cosine_similarity(weight.grad.flatten(), d_weight.flatten(), dim=0) > 0.999


def test_a_run_in_bfloat16_ends_near_the_one_in_float32() -> None:
    rough, exact = (
        train(make_spec(n_steps=12, precision=p), options=TrainingOptions(device="cpu"))
        for p in ("bfloat16", "float32")
    )
    assert rough.loss != exact.loss
    assert rough.loss == pytest.approx(exact.loss, rel=0.01)


def test_every_shape_is_compiled_however_many_a_process_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch gives up compiling a function at its ninth shape, in silence."""
    compiled: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(d_model)
        return graph.forward

    compile_with = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda module, **options: compile_with(module, backend=backend, **options)
    )
    widths = [8 * i for i in range(1, 12)]
    for d_model in widths:
        shape = Architecture(n_layers=1, d_model=d_model, n_heads=1, vocab_size=32, context_length=16)
        spec = make_spec(n_steps=1, architecture=shape)
        train(spec, options=TrainingOptions(device="cpu", compile=True))
    assert sorted(set(compiled)) == widths


@pytest.mark.parametrize(
    ("said", "peak"),
    [
        ("NVIDIA H200", 989.5e12),
        ("NVIDIA H100 80GB HBM3", 989.5e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("AMD Instinct MI300X", 1307e12),
        ("some card", None),
    ],
)
def test_a_gpu_has_its_peak_by_the_name_torch_gives_it(
    said: str, peak: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: said)
    devices._peak.cache_clear()
    found = devices._peak(torch.device("cuda"), torch.bfloat16)
    devices._peak.cache_clear()
    assert found == (peak if peak is None else pytest.approx(peak, rel=0.005))
