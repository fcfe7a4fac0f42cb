from __future__ import annotations

import math

import pytest
from toy_tables import TableModel, markov_model

from scaling.errors import UsageError
from scaling.lm.beam import Beam
from scaling.lm.decoding import generate
from scaling.lm.sampling import Greedy, Sample, Temperature

# The deck's walk with N = 2: {a}, {ab, ac}, {abe, acf}. Greedy goes a, b, d.
WALK = TableModel(
    "abcdefg",
    {
        "": {"a": 1.0},
        "a": {"b": 0.5, "c": 0.4, "d": 0.1},
        "ab": {"e": 0.55, "d": 0.25, "g": 0.2},
        "ac": {"f": 0.6, "d": 0.2, "g": 0.2},
        "ad": {"g": 1.0},
    },
)
# The first token of the most probable text is not the most probable first token.
TRAP = TableModel(
    "abc",
    {
        "": {"a": 0.6, "b": 0.4},
        "a": {"a": 0.35, "b": 0.35, "c": 0.3},
        "b": {"c": 1.0},
        "ba": {"a": 1.0},
        "c": {"c": 1.0},
    },
)


def test_two_beams_walk_as_in_the_deck():
    found = generate(WALK, [""], WALK, Beam(2, trace=True), max_new_tokens=3)[0]

    steps = [{WALK.decode(ids) for ids in beams} for beams in found.tree.beams()]
    assert steps[:2] == [{"a"}, {"ab", "ac"}]
    last = {WALK.decode(node.ids) for node in found.tree.steps[2] if node.status == "finished"}
    assert last == {"abe", "acf"}
    assert {WALK.decode(node.ids) for node in found.tree.steps[1] if node.status == "pruned"} == {"ad"}


def test_greedy_misses_the_most_probable_text():
    texts = TRAP.all_texts([], 3)
    best = max(texts, key=texts.get)

    greedy = generate(TRAP, [""], TRAP, Greedy(), max_new_tokens=3)[0]
    beam = generate(TRAP, [""], TRAP, Beam(2), max_new_tokens=3)[0]

    assert beam.ids == best
    assert TRAP.decode(best) == "bcc"
    assert greedy.ids != best
    assert greedy.logprob < beam.logprob == pytest.approx(texts[best], abs=1e-6)  # float32 logs


@pytest.mark.parametrize("seed", range(20))
def test_enough_beams_find_the_most_probable_text(seed):
    import numpy as np

    rng = np.random.default_rng(seed)
    model = markov_model("abcd", rng.dirichlet([0.4] * 4, size=4))
    texts = model.all_texts([0], 4, eos_id=3)
    best = sorted(texts.values(), reverse=True)[:3]

    found = generate(model, [[0]], None, Beam(4**4), max_new_tokens=4, eos_id=3, n=3)

    assert [g.logprob for g in found] == pytest.approx(best, abs=1e-5)
    assert texts[found[0].ids] == pytest.approx(found[0].logprob, abs=1e-5)


@pytest.mark.parametrize("seed", range(10))
def test_more_beams_score_at_least_as_well_as_greedy_here(seed):
    import numpy as np

    model = markov_model("abcde", np.random.default_rng(seed).dirichlet([0.5] * 5, size=5))

    greedy = generate(model, [[0]], None, Greedy(), max_new_tokens=6)[0]
    one, many = (generate(model, [[0]], None, Beam(k), max_new_tokens=6)[0] for k in (1, 8))

    assert one.ids == greedy.ids
    assert many.logprob >= greedy.logprob - 1e-6


STOPPING = TableModel(  # "." ends; the short text is likelier in total, the long one per token
    "ab.",
    {
        "": {"a": 0.6, ".": 0.4},
        "a": {"b": 0.9, ".": 0.1},
        "ab": {"b": 0.9, ".": 0.1},
        "b": {"b": 0.05, ".": 0.95},
    },
)


def test_length_penalty_prefers_the_longer_text():
    short = generate(STOPPING, [""], STOPPING, Beam(2), max_new_tokens=3, eos_id=2)[0]
    long = generate(STOPPING, [""], STOPPING, Beam(2, length_penalty=1.0), max_new_tokens=3, eos_id=2)[0]

    assert STOPPING.decode(short.ids) == "abb"  # .486 against .4 for "."
    assert long.score == pytest.approx(long.logprob / len(long.ids))


RULES = TableModel(  # totals: "." .30, "a." .245, "ab." .41 (then nothing ends but at the last step)
    "ab.",
    {
        "": {"a": 0.7, ".": 0.3},
        "a": {"b": 0.65, ".": 0.35},
        "ab": {"b": 0.1, ".": 0.9},
        "b": {"b": 1.0},
    },
)
PATIENCE = TableModel(".ab", {"": {".": 0.6, "a": 0.4}, "a": {"b": 1.0}, "b": {"b": 1.0}})


def test_first_stops_where_n_texts_are_finished_though_a_better_one_is_ahead():
    found = {
        rule: generate(RULES, [""], RULES, Beam(2, early_stopping=rule), max_new_tokens=4, eos_id=2)[0]
        for rule in ("first", "heuristic", "never")
    }

    assert {rule: RULES.decode(g.ids) for rule, g in found.items()} == {
        "first": ".",
        "heuristic": "ab.",
        "never": "ab.",
    }


def test_only_never_waits_for_a_length_that_would_still_pay():
    # after one token the best beam scores ln .4 / 1, less than the finished ln .6 / 1; at length 4 it is ln .4 / 4
    found = {
        rule: generate(
            PATIENCE,
            [""],
            PATIENCE,
            Beam(1, early_stopping=rule, length_penalty=1.0),
            max_new_tokens=4,
            eos_id=0,
        )[0]
        for rule in ("first", "heuristic", "never")
    }

    assert {rule: PATIENCE.decode(g.ids) for rule, g in found.items()} == {
        "first": ".",
        "heuristic": ".",
        "never": "abbb",
    }
    assert found["never"].score == pytest.approx(math.log(0.4) / 4)


def test_finish_reason_and_text_leave_out_the_end_token():
    found = generate(STOPPING, ["a"], STOPPING, Beam(3), max_new_tokens=4, eos_id=2, n=3)

    ended = [g for g in found if g.finish_reason == "eos"]
    assert ended
    assert all(g.ids[-1] == 2 and "." not in g.text for g in ended)


def test_stop_strings_end_a_beam():
    found = generate(WALK, ["a"], WALK, Beam(2), max_new_tokens=2, stop=["e"], n=1)[0]

    assert (found.text, found.finish_reason) == ("b", "stop")


def test_each_prompt_of_a_batch_is_searched_alone():
    together = generate(WALK, ["a", "ab", ""], WALK, Beam(2), max_new_tokens=2)
    alone = [generate(WALK, [p], WALK, Beam(2), max_new_tokens=2)[0] for p in ("a", "ab", "")]

    assert [g.ids for g in together] == [g.ids for g in alone]


def test_wrong_use_is_told():
    with pytest.raises(UsageError, match="whole number of beams >= 1, got 0"):
        Beam(0)
    with pytest.raises(UsageError, match="'never', 'heuristic' or 'first'"):
        Beam(2, early_stopping=True)
    with pytest.raises(UsageError, match="cannot give n=3"):
        generate(WALK, [""], WALK, Beam(2), n=3)
    with pytest.raises(UsageError, match="greedy decoding cannot feel"):
        Greedy(Temperature(0.5))


def test_beam_logprobs_add_up():
    found = generate(WALK, [""], WALK, Beam(2), max_new_tokens=3)[0]

    assert math.fsum(found.token_logprobs) == pytest.approx(found.logprob)
    assert found.score == found.logprob


def test_transforms_act_on_beams():
    sharp = generate(WALK, [""], WALK, Beam(2, Temperature(0.5)), max_new_tokens=3)[0]

    assert sharp.ids == generate(WALK, [""], WALK, Beam(2), max_new_tokens=3)[0].ids
    assert sharp.score < 0


def test_sample_is_no_beam():
    assert generate(WALK, [""], WALK, Sample(), max_new_tokens=1)[0].tree is None


def test_a_beam_goes_on_though_several_ends_are_likelier():
    ends = TableModel(  # x, y and z end
        "abxyz",
        {"": {"x": 0.4, "y": 0.3, "z": 0.2, "a": 0.1}, "a": {"b": 1.0}, "b": {"b": 1.0}},
    )

    found = generate(ends, [""], ends, Beam(1, length_penalty=1.0), max_new_tokens=3, eos_id=[2, 3, 4])[0]

    assert ends.decode(found.ids) == "abb"
    assert found.score == pytest.approx(math.log(0.1) / 3)  # above the ln .4 of "x"


@pytest.mark.parametrize("penalty", [1000.0, -1000.0, float("nan"), float("inf")])
def test_a_length_penalty_whose_power_overflows_is_refused(penalty: float) -> None:
    with pytest.raises(UsageError, match="length_penalty must be"):
        Beam(2, length_penalty=penalty)
