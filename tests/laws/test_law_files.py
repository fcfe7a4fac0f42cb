"""Law files: what a damaged or foreign one says, and that a fit file is a law file."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.errors import LawError
from scaling.laws import ChinchillaLaw, OptimumBand, Provenance, Uncertainty, law_to_dict, load_law
from scaling.reference import write_law

LAW = ChinchillaLaw(
    E=1.8, A=0.1 + 0.2, B=2000.0, alpha=1 / 3, beta=0.37, provenance=Provenance(name="mine", source="a fit")
)


def write(tmp_path, data):
    path = tmp_path / "law.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_write_and_load_keep_every_digit(tmp_path):
    write_law(LAW, tmp_path / "law.json")
    assert load_law(tmp_path / "law.json") == LAW


def test_a_fit_file_is_a_law_file(tmp_path):
    fit = {"schema_version": 1, "kind": "fit", "method": "parametric", "law": law_to_dict(LAW), "n_runs": 240}
    assert load_law(write(tmp_path, fit)) == LAW


def edited(**changes):
    return {**law_to_dict(LAW), **changes}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is damaged: not JSON"),
        ("{", "is damaged: not JSON"),
        ("\x00\xff", "is damaged: not JSON"),
        ("[" * 100_000, "is damaged: not JSON"),
        ([1, 2], "is not a law"),
        ({"kind": "plan"}, "is not a law"),
        (edited(schema_version=2), "has schema_version 2, this version reads 1"),
        (edited(schema_version=None), "has schema_version None"),
        ({k: v for k, v in law_to_dict(LAW).items() if k != "family"}, "it has no family"),
        (edited(family="chinchila"), "did you mean: chinchilla"),
        (edited(family=["chinchilla"]), "unknown law family"),
        (edited(coefficients={"E": 1.0}), "exactly the coefficients E, A, B, alpha, beta, got E"),
        (edited(coefficients=3), "exactly the coefficients"),
        (edited(coefficients={**LAW.coefficients, "A": "many"}), "coefficient A .* must be a finite number"),
        (edited(coefficients={**LAW.coefficients, "A": None}), "coefficient A .* must be a finite number"),
        (edited(provenance={"source": "no name"}), "is damaged: provenance has no name[.] Write it again"),
        (edited(provenance="mine"), "damaged: provenance must be an object, got 'mine'[.] Write"),
        (edited(uncertainty="wide"), "damaged: uncertainty must be an object, got 'wide'[.] Write"),
        (
            edited(provenance={"name": "x", "source": "y", "fitted_range": {"flops": [1]}}),
            "flops must be a lower and an upper end, got 1",
        ),
        (edited(uncertainty={"level": 0.95}), "is damaged: uncertainty has no method[.] Write"),
        (
            edited(uncertainty={"level": 0.95, "method": "m", "band": {"log10_flops": [1]}}),
            r"uncertainty\.band has no n_params_low",
        ),
        (
            edited(uncertainty={"level": "high", "method": "m"}),
            r"uncertainty\.level must be a number, got 'high'",
        ),
        (
            edited(uncertainty={"level": 0.95, "method": "m", "draws": [[1, None]]}),
            r"uncertainty\.draws\[0\] must hold 5",
        ),
        ({"schema_version": 1, "kind": "fit"}, "the law inside .* is not a law"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path, data, message):
    path = write(tmp_path, data)
    with pytest.raises(LawError, match=message) as caught:
        load_law(path)
    assert str(path) in str(caught.value)


def test_a_whole_number_beyond_any_float_is_no_coefficient(tmp_path):
    coefficients = {**LAW.coefficients, "E": 10**400}
    with pytest.raises(LawError, match="coefficient E of a chinchilla law must be a finite number, got 1000"):
        load_law(write(tmp_path, edited(coefficients=coefficients)))


def test_a_missing_file_and_a_folder_are_said(tmp_path):
    with pytest.raises(LawError, match="there is no law file"):
        load_law(tmp_path / "none.json")
    with pytest.raises(LawError, match="cannot be read"):
        load_law(tmp_path)


FULL = ChinchillaLaw(
    **LAW.coefficients,
    provenance=Provenance(name="mine", source="a fit", fitted_range={"flops": (1e18, 1e22)}),
    uncertainty=Uncertainty(
        level=0.95,
        method="profile",
        band=OptimumBand(
            log10_flops=(18.0, 24.0),
            n_params_low=(0.0, 1e9),
            n_params_high=(1e8, float("inf")),
            loss_low=(2.0, 1.9),
            loss_high=(3.0, 2.5),
        ),
        draws=(tuple(LAW.coefficients.values()),) * 2,
        residual_sd=0.01,
    ),
)
FIT = {"schema_version": 1, "kind": "fit", "method": "parametric", "law": law_to_dict(FULL), "n_runs": 240}


def nodes(data, at=()):
    """The path of every value in a JSON document."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield (*at, key)
        yield from nodes(value, (*at, key))


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([[], {}, [[]], [None], {"a": 1}, "inf", "nan", 10**400, -1, 0, 1e308]),
)
# what a Python error says of itself, never meant for a reader
LEAKS = (
    "object",
    "__init__",
    "NoneType",
    "positional",
    "unpack",
    "Error",
    "convert",
    "attribute",
    "subscript",
)


@settings(
    max_examples=400,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(nodes(FIT))), st.one_of(st.just("delete"), st.tuples(JUNK))),
        min_size=1,
        max_size=3,
    )
)
def test_a_fit_file_with_any_node_changed_gives_a_law_or_one_clean_error(tmp_path, changes):
    data = json.loads(json.dumps(FIT))
    for at, change in changes:
        try:
            parent = data
            for key in at[:-1]:
                parent = parent[key]
            if change == "delete":
                del parent[at[-1]]
            else:
                parent[at[-1]] = change[0]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    path = write(tmp_path, data)
    try:
        law = load_law(path)
    except LawError as error:
        text = str(error).replace("a JSON object", "").replace("must be an object", "")
        assert not any(leak in text for leak in LEAKS), text
        assert text.endswith(".")
        assert "' Write" not in text
        assert " Write" not in text.replace(". Write", "")
        return
    assert law_to_dict(law)["family"] == "chinchilla"
    assert all(abs(v) < float("inf") for v in law.coefficients.values())
