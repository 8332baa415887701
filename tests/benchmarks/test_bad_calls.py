"""The benchmark of bad calls: what it covers, how it judges, and a sample of it."""

import json
import pathlib
import random
import sys

import numpy as np
import pytest

from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import good_calls  # noqa: E402
import judged_calls  # noqa: E402

# How many calls stand for all, which take minutes.
SAMPLE = 300


def test_every_public_callable_has_good_values_and_every_argument_a_domain():
    faults = judged_calls.missing()
    assert not faults, (
        "What is public must have bad calls. Enter in benchmarks/good_calls.py: a good "
        "call in GOOD, what an argument may be in DOMAINS or BY_NAME, or in NOT_CALLED "
        "why it is not called:\n" + "\n".join(faults)
    )


def test_there_are_at_least_400_calls_of_every_part_and_always_the_same():
    calls = judged_calls.calls()
    assert len(calls) >= 400
    assert len(set(calls)) == len(calls)
    assert calls == judged_calls.calls()
    assert {call.module for call in calls} == {
        *judged_calls.MODULES,
        "convert",
        "conversion_report",
    }
    kinds = {call.kind for call in calls}
    asked = {"text", "shape", "length", "negative", "huge", "nan", "empty", "swapped"}
    assert asked <= kinds


def test_every_exception_is_of_a_call_that_there_is():
    calls = {(call.name, call.argument) for call in judged_calls.calls()}
    names = {name for name, _ in calls}
    for name, argument, _ in good_calls.LEGAL:
        part = name.endswith(".")
        assert part or name in names
        assert part or (name, argument) in calls
    assert not set(good_calls.NOT_CALLED) & names


def test_only_an_error_that_names_the_argument_and_the_value_is_named():
    call = judged_calls.Call("metrics.top_k_error", "k", "negative")
    text = "`k` must be positive. Received: k=-1"
    assert judged_calls.judge(call, None, ValueError(text)) == "named"
    assert judged_calls.judge(call, None, TypeError(text)) == "named"
    assert judged_calls.judge(call, None, AttributeError(text)) == "unnamed"
    assert judged_calls.judge(call, None, ValueError("k is bad. Received: -1")) == (
        "unnamed"
    )
    assert judged_calls.judge(call, None, ValueError("`k` is bad")) == "unnamed"
    assert judged_calls.judge(call, 0.5, None) == "accepted"
    assert judged_calls.judge(call, {"a": [np.array([1.0, np.nan])]}, None) == "nan"
    # Of two that do not fit, either may be named.
    other = "`probs` must fit. Received: probs.shape=(5, 3)"
    length = judged_calls.Call("metrics.top_k_error", "labels", "length")
    assert judged_calls.judge(length, None, ValueError(other)) == "named"
    assert judged_calls.judge(call, None, ValueError(other)) == "unnamed"


def _sample():
    """Returns calls of all parts, as many of each as there are in proportion."""
    return random.Random(1).sample(judged_calls.calls(), SAMPLE)


@pytest.fixture(scope="module")
def outcomes():
    return [(call, *judged_calls.run_here(call.name, call)) for call in _sample()]


def test_at_least_95_percent_of_a_sample_end_in_an_error_that_names_the_argument(
    outcomes,
):
    others = [found for found in outcomes if found[1] != "named"]
    assert len(others) <= 0.05 * SAMPLE, others


def test_none_of_a_sample_ends_in_a_number(outcomes):
    assert not [found for found in outcomes if found[1] in ("accepted", "nan")]


def _run(path, *flags):
    script = ROOT / "benchmarks" / "bad_calls.py"
    process = run_python(script, *flags, f"--output={path}", check=True)
    return json.loads(path.read_text()), process.stdout


def test_the_script_makes_good_and_bad_calls_in_a_process_and_writes_its_json(tmp_path):
    result, shown = _run(
        tmp_path / "result.json", "--only=models.lenet5,kits.hyper", "--sample=8"
    )
    assert result["calls"] == 8
    assert result["totals"]["named"] == 8
    assert result["named"] == 1.0
    assert set(result["by_part"]) <= {"kits", "models"}
    assert sum(sum(row.values()) for row in result["by_kind"].values()) == 8
    assert result["not_named"] == []
    assert "| all | 8 | 8 |" in shown


def test_calls_that_were_kept_are_not_made_again(tmp_path):
    good = ["kits.hyper", "seed", "list", "named", "`seed` must be ..."]
    lines = [json.dumps(good), json.dumps(good)[:-9]]  # the last one is cut
    (tmp_path / "kept.jsonl").write_text("\n".join(lines))
    kept = judged_calls.Kept(str(tmp_path / "kept.jsonl"))
    call, other = (
        judged_calls.Call(*good[:3]),
        judged_calls.Call("kits.hyper", "seed", "nan"),
    )
    assert kept.get(call) == tuple(good[3:]) and kept.get(other) is None
    kept.add(other, "named", "`seed` ...")
    again = judged_calls.Kept(str(tmp_path / "kept.jsonl"))
    assert again.get(other) == ("named", "`seed` ...")
    assert list(judged_calls.run_all([call, other], None, again)) == [
        (call, *good[3:]),
        (other, "named", "`seed` ..."),
    ]
    judged_calls.Kept(None).add(other, "named", "nothing is kept")


def test_a_call_that_does_not_end_in_time_is_a_hang(tmp_path):
    result, _ = _run(
        tmp_path / "result.json",
        "--only=models.wide_resnet",
        "--sample=1",
        "--nogood",
        "--patience=0",
    )
    assert result["totals"]["hang"] == 1
    (row,) = result["not_named"]
    assert row["outcome"] == "hang"
