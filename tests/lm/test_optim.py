"""Losses, optimizers, schedules and recipes against torch and hand-worked values."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from scaling.architecture import Architecture
from scaling.errors import UnknownNameError, UsageError
from scaling.lm import losses
from scaling.lm.losses import linear_cross_entropy, linear_cross_entropy_rows
from scaling.lm.models import build_model
from scaling.lm.optim import Muon, build_optimizers, gradient_norm, orthogonalise, parameters_of
from scaling.lm.recipes import Recipe, Schedule, choose_recipe

TINY = Architecture(n_layers=2, d_model=16, n_heads=2, vocab_size=40, context_length=16)


@pytest.mark.parametrize("chunk", [64, 1000, 10**6])
def test_chunked_cross_entropy_equals_torch(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS_CPU", chunk)
    torch.manual_seed(0)
    x, w, t = torch.randn(50, 8), torch.randn(30, 8) * 3, torch.randint(0, 30, (50,))
    a, b = [(x.clone().requires_grad_(), w.clone().requires_grad_()) for _ in range(2)]
    ours = linear_cross_entropy(*a, t, scale=1 / 50) * 2
    theirs = F.cross_entropy(b[0] @ b[1].T, t) * 2
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(ours, theirs)
    for mine, reference in zip(a, b):
        torch.testing.assert_close(mine.grad, reference.grad)
    torch.testing.assert_close(
        linear_cross_entropy_rows(x, w, t), F.cross_entropy(x @ w.T, t, reduction="none")
    )


def test_chunked_cross_entropy_is_exact_where_probabilities_underflow() -> None:
    x = torch.tensor([[1.0]], requires_grad=True)
    w = torch.tensor([[0.0], [500.0]], requires_grad=True)
    assert linear_cross_entropy(x, w, torch.tensor([0]), scale=1.0).item() == 500.0


def test_gradient_of_chunked_cross_entropy_is_numerical_gradient() -> None:
    torch.manual_seed(1)
    x, w = torch.randn(5, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    t = torch.tensor([0, 3, 1, 2, 2])
    linear_cross_entropy(x, w, t, scale=0.2).backward()
    step = 1e-2
    for tensor in (x, w):
        for index in ((0, 0), (3, 2)):
            shifted = []
            for sign in (1, -1):
                moved = tensor.detach().clone()
                moved[index] += sign * step
                inputs = (moved, w.detach()) if tensor is x else (x.detach(), moved)
                shifted.append(linear_cross_entropy(*inputs, t, scale=0.2).item())
            # float32 central difference: error about 1e-7 / step + step^2
            assert tensor.grad[index].item() == pytest.approx(
                (shifted[0] - shifted[1]) / (2 * step), abs=2e-4
            )


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((20, 20), (64, 16), (16, 64)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.6
        assert values.max() < 1.25


def test_muon_follows_torch_muon() -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this torch has no Muon")
    torch.manual_seed(0)
    start = torch.randn(12, 20)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    a = Muon([ours], lr=0.02, momentum=0.95, weight_decay=0.1)
    b = torch.optim.Muon(
        [theirs], lr=0.02, momentum=0.95, weight_decay=0.1, nesterov=True, adjust_lr_fn="match_rms_adamw"
    )
    for _ in range(5):
        gradient = torch.randn_like(start)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        a.step()
        b.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.03 * moved  # theirs iterates in bfloat16: 8 bits


def test_fused_projections_are_orthogonalised_apart() -> None:
    model = build_model(TINY)
    muon = build_optimizers(
        model, Recipe(learning_rate=1e-3, batch_size=1, optimizer="muon"), device=torch.device("cpu")
    )[0]
    parts = [g["parts"] for g in muon.param_groups]
    assert [16, 16, 16] in parts
    held = {id(p) for g in muon.param_groups for p in g["params"]}
    assert id(model.tokens.weight) not in held
    assert len(held) == 2 * 4  # query-key-value, output, up, down of each block


def test_vectors_are_not_decayed() -> None:
    model = build_model(TINY)
    (adamw,) = build_optimizers(model, Recipe(learning_rate=1e-3, batch_size=1), device=torch.device("cpu"))
    decayed, plain = adamw.param_groups
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim == 1 for p in plain["params"])
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert sum(len(g["params"]) for g in adamw.param_groups) == len(list(model.parameters()))


def test_optimizers_share_the_parameters_evenly_and_step_as_one_would() -> None:
    recipe = Recipe(learning_rate=1e-2, batch_size=1, optimizer="muon")
    models = [build_model(TINY) for _ in range(2)]
    for model, n_parts in zip(models, (1, 3)):
        optimizers = build_optimizers(model, recipe, device=torch.device("cpu"), n_parts=n_parts)
        assert len(optimizers) == 2 * n_parts
        held = [p for o in optimizers for p in parameters_of(o)]
        assert len(held) == len({id(p) for p in held}) == len(list(model.parameters()))
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        for optimizer in optimizers:
            optimizer.step()
    for one, shared in zip(models[0].parameters(), models[1].parameters()):
        assert torch.equal(one, shared)


def test_gradient_norm_is_that_of_all_gradients_together() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(n)) for n in (1, 2)]
    assert gradient_norm(parameters).item() == 0
    parameters[0].grad, parameters[1].grad = torch.tensor([2.0]), torch.tensor([3.0, 6.0])
    assert gradient_norm(parameters).item() == pytest.approx(7.0)


def test_schedules_by_hand() -> None:
    wsd = Schedule(kind="wsd", warmup_steps=4, decay_fraction=0.2)
    factors = [wsd.factor(s, 20) for s in range(20)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4:16] == [1.0] * 12
    assert factors[16:] == pytest.approx([1 - math.sqrt(t) for t in (0.25, 0.5, 0.75, 1.0)])
    cosine = Schedule(kind="cosine", warmup_steps=0, final_fraction=0.1)
    assert cosine.factor(9, 20) == pytest.approx(0.55)
    assert cosine.factor(19, 20) == pytest.approx(0.1)
    assert Schedule(kind="constant").factor(7, 20) == 1.0


@given(
    st.sampled_from(["cosine", "wsd", "linear", "constant"]),
    st.integers(0, 30),
    st.integers(1, 60),
    st.floats(0, 1),
)
def test_learning_rate_stays_between_zero_and_peak(kind, warmup: int, n_steps: int, final: float) -> None:
    schedule = Schedule(kind=kind, warmup_steps=warmup, final_fraction=final)
    factors = [schedule.factor(s, n_steps) for s in range(n_steps)]
    assert all(-1e-12 <= f <= 1 for f in factors)
    flat = factors[warmup:]
    assert all(a >= b for a, b in itertools.pairwise(flat))


@given(st.integers(2, 200), st.integers(2, 200))
def test_wsd_runs_agree_up_to_the_decay_of_the_shorter(a: int, b: int) -> None:
    schedule = Schedule(kind="wsd", warmup_steps=3)
    shared = min(schedule.decay_start(a), schedule.decay_start(b))
    assert [schedule.factor(s, a) for s in range(shared)] == [schedule.factor(s, b) for s in range(shared)]


def test_recipes_by_hand() -> None:
    a = Architecture(n_layers=12, d_model=768, n_heads=12, vocab_size=50257, context_length=1024)
    step = choose_recipe("steplaw", a, n_tokens=2e9)
    from scaling.accounting import count_params

    n = count_params(a).non_embedding
    assert step.learning_rate == pytest.approx(1.79 * n**-0.713 * 2e9**0.307)
    assert step.batch_size == round(0.58 * 2e9**0.571 / 1024)
    marin = choose_recipe("marin", a, n_tokens=2**16 * 1024 * 64)
    assert (marin.batch_size, marin.learning_rate) == (64, pytest.approx(0.33 * 8 / 768))
    assert marin.beta2 == pytest.approx(0.98**0.5)
    assert choose_recipe("deepseek", a, n_tokens=2e9, weight_decay=0.0).weight_decay == 0.0
    with pytest.raises(UnknownNameError, match="steplaw"):
        choose_recipe("steplow", a, n_tokens=2e9)
    with pytest.raises(UsageError, match="at least one window"):
        choose_recipe("marin", a, n_tokens=5)


@pytest.mark.parametrize(
    "changes", [{"learning_rate": math.nan}, {"batch_size": 0}, {"beta2": 1.0}, {"clip_norm": 0.0}]
)
def test_impossible_recipes_are_refused(changes: dict) -> None:
    with pytest.raises(UsageError):
        Recipe(**({"learning_rate": 1e-3, "batch_size": 8} | changes))
