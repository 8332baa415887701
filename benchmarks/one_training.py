r"""One training against several: what a method makes of the price of one training.

    python benchmarks/one_training.py --setting=smoke
    python benchmarks/one_training.py --setting=cifar5000 --data_dir=DIR --shard=0/2
    KERAS_BACKEND=jax python benchmarks/one_training.py \
        --setting=cifar10_wrn28_4 --data_dir=DIR --minutes=8

Each row of the table is a method (`one_training_rows`), beside MAP and two, three and
four trainings of it. Rows share trainings. These resume epoch by epoch, and predictions
image set by image set, from --workdir; of several processes with --shard=i/n each has
its part of the trainings, and writes the table of all that is there. With --minutes
nothing begins that would end later: the process then ends with the code 75, as long as
there is more to do, and the same command goes on. Scores that the JSON of the same
setting has already stay as they are, also where their networks are gone: a table may be
made row by row (delete the JSON to make it anew).

The temperature T is fitted on validation images, which nothing is trained on. "NLL /
T" is the NLL before and after it. Foreign images are for testing alone.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import sys
import time

import one_training_tables as tables
from absl import app, flags
from one_training_lab import Lab, OutOfTime
from one_training_rows import ROWS
from one_training_scores import results, scored_before
from one_training_settings import SETTINGS
from one_training_work import chosen, listing, needed, part_of, work
from report import provenance, read_json, write_figure, write_json

FLAGS = flags.FLAGS
flags.DEFINE_enum("setting", "smoke", sorted(SETTINGS), "Data, network and length.")
flags.DEFINE_list("rows", [], f"Of {', '.join(ROWS)}; or all.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TensorFlow Datasets.")
flags.DEFINE_string("workdir", "runs/one_training", "Where all is kept.")
flags.DEFINE_string("output_dir", "benchmarks/results", "Where the results go.")
flags.DEFINE_string("shard", "0/1", "i/n: the i-th of n processes, from 0 on.")
flags.DEFINE_float("minutes", None, "After which nothing begins; none by default.")
flags.DEFINE_bool("list", False, "Print the trainings, and which are done; and end.")
flags.DEFINE_bool("table", False, "Print and write what is there; train nothing.")
flags.DEFINE_integer("verbose", 2, "As of model.fit.")

# Of sysexits.h: "the user is invited to retry".
MORE_TO_DO = 75


def path_of_results() -> str:
    """Returns where the table goes, without the ending."""
    return os.path.join(FLAGS.output_dir, f"one_training_{FLAGS.setting}")


def write(lab: Lab, kept: dict) -> str:
    """Writes what is there, and returns it as tables."""
    found = results(lab, list(ROWS.values()), kept)
    if not found:
        return "Nothing is there yet."
    made = (
        tables.main_table,
        tables.draws_table,
        tables.spread_table,
        tables.held_out_table,
        tables.foreign_table,
    )
    text = "\n\n".join(make(found) for make in made)
    path = path_of_results()
    made = provenance()
    before = (read_json(f"{path}.json") or {}).get("commands", [])
    content = {
        "what": "methods at the price of one training, beside several trainings",
        "data": lab.setting.note,
        "setting": dataclasses.asdict(lab.setting),
        **made,
        "commands": [*before, *({made["command"]} - set(before))],
        "foreign_images_missing": lab.missing,
        "markdown": text.splitlines(),
        "results": found,
    }
    write_json(f"{path}.json", content)
    write_figure(f"{path}.png", tables.figure(found, lab.setting.note), 130)
    return text


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    setting = SETTINGS[FLAGS.setting]
    kept = scored_before(read_json(f"{path_of_results()}.json"), setting)
    try:
        rows = chosen(FLAGS.rows)
        jobs = part_of(needed(setting, rows, kept), FLAGS.shard)
    except ValueError as error:
        raise app.UsageError(str(error)) from None
    deadline = time.monotonic() + 60 * (FLAGS.minutes or float("inf"))
    workdir = os.path.join(FLAGS.workdir, FLAGS.setting)
    lab = Lab(FLAGS.setting, FLAGS.data_dir, workdir, FLAGS.verbose, deadline)
    if FLAGS.list:
        print(listing(lab, jobs))
        return
    faults: list[str] = []
    late = False
    if not FLAGS.table:
        try:
            faults = work(lab, jobs, lambda: write(lab, kept))
        except OutOfTime:
            late = True
    print(f"\n{lab.setting.note}\n\n{write(lab, kept)}")
    for kind, reason in lab.missing.items():
        print(f"left out, foreign images of {kind!r}: {reason}")
    if faults:
        sys.exit("\n".join(faults))
    if late:
        print("out of time: the same command goes on from here")
        sys.exit(MORE_TO_DO)


if __name__ == "__main__":
    app.run(main)
