r"""What becomes of bad calls: of each public callable, one argument is spoiled.

    python benchmarks/bad_calls.py --kept=runs/bad_calls.jsonl

Names and arguments are read from the package; `good_calls.py` has a good call of each,
and `bad_values.py` what an argument may not be, by kind. Each call has one bad argument
(or two neighbours that changed places), and ends as one of

    named       in an error that names the argument and what was received
    unnamed     in any other error
    accepted    in a result
    nan         in a result that is, or holds, NaN or infinity
    hang        not within --patience seconds
    crash       with the process

A call runs in a process of its own kind, which is made anew only after a hang or a
crash. Random numbers are seeded, so that the same package gives the same table.
"""

import dataclasses
import random

from absl import app, flags
from good_calls import LEGAL, NOT_CALLED
from judged_calls import (
    OUTCOMES,
    Call,
    Kept,
    Worker,
    calls,
    check_good,
    counted,
    missing,
    run_all,
)
from report import markdown_table, provenance, write_json

FLAGS = flags.FLAGS
flags.DEFINE_list("only", [], "Beginnings of the names to call; or all.")
flags.DEFINE_integer("sample", None, "As many calls, drawn by --seed; or all.")
flags.DEFINE_integer("seed", 0, "Of the sample.")
flags.DEFINE_float("patience", 60.0, "Seconds after which a call is a hang.")
flags.DEFINE_bool("good", True, "Whether to make the good calls first.")
flags.DEFINE_string(
    "kept",
    None,
    "Lines of JSON, one for each call that was made: a run that was stopped goes on "
    "behind them. To be removed when the package has changed.",
)
flags.DEFINE_string("output", "benchmarks/results/bad_calls.json", "The JSON.")


def chosen(all_of_them: list[Call]) -> list[Call]:
    """Returns the calls that the flags name."""
    if FLAGS.only:
        starts = tuple(FLAGS.only)
        all_of_them = [call for call in all_of_them if call.name.startswith(starts)]
    if FLAGS.sample is not None:
        numbers = range(len(all_of_them))
        size = min(FLAGS.sample, len(all_of_them))
        picked = sorted(random.Random(FLAGS.seed).sample(numbers, size))
        all_of_them = [all_of_them[i] for i in picked]
    return all_of_them


def _row(name, counts):
    total = sum(counts.values())
    share = f"{100 * counts['named'] / total:.1f} %" if total else "-"
    return [name, total, *(counts[outcome] for outcome in OUTCOMES), share]


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    if faults := missing():
        raise RuntimeError("\n".join([*faults, "Enter it in benchmarks/good_calls.py"]))
    some = chosen(calls())
    with Worker(FLAGS.patience) as worker:
        if FLAGS.good:
            check_good(worker, list(dict.fromkeys(call.name for call in some)))
        found = list(run_all(some, worker, Kept(FLAGS.kept)))
    modules = counted(found, lambda call: call.module)
    (totals,) = counted(found, lambda call: "all").values() if found else [{}]
    rows = [_row(name, counts) for name, counts in modules.items()]
    header = ["part", "calls", *OUTCOMES, "named, %"]
    print(markdown_table(header, [*rows, _row("all", totals)]))
    content = {
        "what": "bad calls of the public API, by how they end",
        "settings": {"only": FLAGS.only, "sample": FLAGS.sample, "seed": FLAGS.seed},
        **provenance(),
        "calls": len(found),
        "named": totals["named"] / len(found),
        "totals": totals,
        "by_part": modules,
        "by_kind": counted(found, lambda call: call.kind),
        "not_named": [
            {**dataclasses.asdict(call), "outcome": outcome, "shown": shown}
            for call, outcome, shown in found
            if outcome != "named"
        ],
        "not_called": NOT_CALLED,
        "good_after_all": [
            {"name": n, "argument": a, "kind": k, "why": why}
            for (n, a, k), why in LEGAL.items()
        ],
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    app.run(main)
