r"""The tables and figures of Ukai et al. (2019), at a chosen scale.

    python benchmarks/paper.py --scale=smoke --data_dir=DIR
    python benchmarks/paper.py --scale=cpu --only=table5,figure6 --data_dir=DIR
    python benchmarks/paper.py --scale=paper --list

Each number is the median of trainings from several seeds and, of each of them, of
several groups of draws (paper, section 4.1). Trainings are shared by the tables,
resume epoch by epoch from --workdir, and so do draws. A table whose data are not
there is left out, and said to be. Each network is trained as its study says, by
`tfhyper.training.RECIPES`; --list prints every training with its recipe, and the
recipes with their sources.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import dataclasses

from absl import app, flags
from paper_runs import SCALES, Lab
from paper_tables import TABLES, figure_path, listing
from report import provenance, write_figure, write_json

FLAGS = flags.FLAGS
flags.DEFINE_bool("list", False, "Print the trainings and their recipes, and end.")
flags.DEFINE_enum("scale", "smoke", sorted(SCALES), "How large everything is.")
flags.DEFINE_list("only", [], f"Of {', '.join(TABLES)}; or all.")
flags.DEFINE_string("data_dir", None, "Folder of prepared TensorFlow Datasets.")
flags.DEFINE_string("data_note", "CIFAR-10 (JPEG)", "How the JSON calls the data.")
flags.DEFINE_string("workdir", "runs/paper", "Where trainings and draws are kept.")
flags.DEFINE_string("output_dir", "benchmarks/results", "Where the results go.")
flags.DEFINE_integer("verbose", 2, "As of model.fit.")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    unknown = sorted(set(FLAGS.only) - set(TABLES))
    if unknown:
        raise app.UsageError(f"--only takes {list(TABLES)}. Received: {unknown}")
    workdir = os.path.join(FLAGS.workdir, FLAGS.scale)
    lab = Lab(FLAGS.scale, FLAGS.data_dir, workdir, verbose=FLAGS.verbose)
    names = FLAGS.only or list(TABLES)
    if FLAGS.list:
        print(listing(lab, names))
        return
    for name in names:
        table = TABLES[name]
        print(f"=== {table.title}")
        try:
            found = table.make(lab)
        except FileNotFoundError as error:
            print(f"left out: {error}")
            continue
        print(f"\n{table.title}, scale {FLAGS.scale}\n\n{found.text}\n")
        path = os.path.join(FLAGS.output_dir, f"paper_{FLAGS.scale}_{name}.json")
        content = {
            "what": table.title,
            "data": FLAGS.data_note,
            "scale": dataclasses.asdict(lab.sizes),
            **provenance(),
            "markdown": found.text.splitlines(),
            "results": found.results,
        }
        write_json(path, content)
        if found.figure is not None:
            path = figure_path(FLAGS.output_dir, FLAGS.scale, name)
            write_figure(path, found.figure, 110)


if __name__ == "__main__":
    app.run(main)
