r"""Foreign images: by which score of which method they are found, and rejected.

    python benchmarks/foreign.py --settings=smoke
    python benchmarks/foreign.py --data_dir=DIR \
        --settings=cifar5000,cifar5000_left_out,fashion,fashion_left_out

Noise, images with shuffled pixels, another data set, images that are turned and, where
a setting leaves classes out of the training, these. The networks are those of
`one_training.py`, in the same --workdir, and what is not trained yet is. Scores: total
(the entropy of the mean), epistemic (the mutual information of class and draw),
disagreement (of pairs of draws) and the Mahalanobis distance of the last features. The
threshold of each is that which keeps --coverage of the validation images. No foreign
image is seen in training, or in a choice.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses
import sys

import foreign_inputs
import numpy as np
from absl import app, flags
from one_training_lab import Lab
from one_training_rows import ROWS, Row
from one_training_scores import summary
from one_training_settings import SETTINGS
from one_training_tables import KINDS
from one_training_work import chosen, needed, part_of, work
from report import markdown_table, provenance, write_json

from tfhyper import metrics

FLAGS = flags.FLAGS
flags.DEFINE_list("settings", ["smoke"], f"Of {', '.join(SETTINGS)}.")
flags.DEFINE_list(
    "rows", ["map", "four", "hyper", "ivon", "hyper_ivon"], f"Of {', '.join(ROWS)}."
)
flags.DEFINE_string("data_dir", None, "Folder of prepared TensorFlow Datasets.")
flags.DEFINE_string("workdir", "runs/one_training", "That of one_training.py.")
flags.DEFINE_string("output_dir", "benchmarks/results", "Where the results go.")
flags.DEFINE_float("coverage", 0.95, "Of validation images that are not rejected.")
flags.DEFINE_string("shard", "0/1", "i/n: the i-th of n processes, from 0 on.")
flags.DEFINE_integer("verbose", 2, "As of model.fit.")


def scores_of(lab: Lab, row: Row, group: list, name: str) -> dict[str, np.ndarray]:
    """Returns all scores of a set of images."""
    members = lab.members(row, group, name)[: row.main_draws(lab.setting)]
    found = foreign_inputs.uncertainties(members)
    return {**found, "mahalanobis": lab.distance(row, group, name)}


def judge(lab: Lab, row: Row, group: list) -> dict:
    """Returns, by score, how foreign images are found, and what is rejected."""
    validation, test = (
        scores_of(lab, row, group, name) for name in ("validation", "test")
    )
    found: dict = {}
    for name in test:
        threshold = metrics.rejection_threshold(
            validation[name], coverage=FLAGS.coverage
        )
        found[name] = {
            "threshold": threshold,
            "rejected": {"test": float(np.mean(test[name] > threshold))},
        }
    for kind in lab.foreign:
        foreign = scores_of(lab, row, group, kind)
        for name, known in test.items():
            found[name][kind] = metrics.ood_detection(known, foreign[name])
            rejected = np.mean(foreign[name] > found[name]["threshold"])
            found[name]["rejected"][kind] = float(rejected)
    return found


def judged(lab: Lab, rows: list[Row]) -> dict:
    """Returns what is there of all rows: median and range over their groups."""
    found = {}
    for row in rows:
        groups = [
            judge(lab, row, group)
            for group in row.groups(lab.setting)
            if all(lab.predicted(training, row.drawing) for training in group)
        ]
        if groups:
            found[row.name] = {"title": row.title, "groups": groups, **summary(groups)}
    return found


def table(found: dict) -> str:
    """Returns AUROC, and the rejected images in per cent."""
    first = next(iter(found.values()))["median"]["total"]
    kinds = [kind for kind in KINDS if kind in first]
    rows = []
    for scores in found.values():
        for name in foreign_inputs.SCORES:
            if name in scores["median"]:
                one = scores["median"][name]
                cells = [
                    f"{one[k]['auroc']:.3f} / {100 * one['rejected'][k]:.0f} %"
                    for k in kinds
                ]
                known = f"{100 * one['rejected']['test']:.1f} %"
                rows.append([scores["title"], name, *cells, known])
    titles = [KINDS[kind] for kind in kinds]
    header = ["method", "score", *titles, "test images rejected"]
    return "AUROC / rejected\n\n" + markdown_table(header, rows)


def write(lab: Lab, rows: list[Row]) -> str:
    """Writes what is there of a setting, and returns it as a table."""
    found = judged(lab, rows)
    if not found:
        return "Nothing is there yet."
    text = table(found)
    content = {
        "what": "detection and rejection of foreign images",
        "data": lab.setting.note,
        "setting": dataclasses.asdict(lab.setting),
        "coverage": FLAGS.coverage,
        **provenance(),
        "foreign_images_missing": lab.missing,
        "markdown": text.splitlines(),
        "results": found,
    }
    write_json(os.path.join(FLAGS.output_dir, f"foreign_{lab.name}.json"), content)
    return text


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    unknown = sorted(set(FLAGS.settings) - set(SETTINGS))
    if unknown:
        raise app.UsageError(f"--settings takes {list(SETTINGS)}. Received: {unknown}")
    faults = []
    for name in FLAGS.settings:
        workdir = os.path.join(FLAGS.workdir, name)
        lab = Lab(name, FLAGS.data_dir, workdir, FLAGS.verbose)
        try:
            rows = chosen(FLAGS.rows)
            jobs = part_of(needed(lab.setting, rows), FLAGS.shard)
        except ValueError as error:
            raise app.UsageError(str(error)) from None
        faults += work(lab, jobs, lambda: None)
        print(f"\n{lab.setting.note}\n\n{write(lab, rows)}")
        for kind, reason in lab.missing.items():
            print(f"left out, foreign images of {kind!r}: {reason}")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    app.run(main)
