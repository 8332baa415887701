r"""A Bayesian GAN beside a deterministic one, at equal steps.

    python benchmarks/bayesian_gan.py

Trains `examples/bayesian_gan.py` by each of --methods, with the same networks, batches,
steps and codes, and scores a thousand samples of each in the features of one classifier
that is trained there: Frechet distance, precision, recall and classes found, for
samples of all draws and of one draw. "real" is what as many real images score. All
numbers are of small networks trained shortly: they say which is better here, and are no
FID of a publication. What is trained is kept in --workdir, and a second call goes on.
"""

import os
import shutil
import subprocess
import sys

from absl import app, flags
from report import markdown_table, provenance, read_json, show_own_flags, write_json

FLAGS = flags.FLAGS
flags.DEFINE_list("methods", ["deterministic", "bayes"], "What draws, in each row.")
flags.DEFINE_list("seeds", ["0"], "Of the trainings.")
flags.DEFINE_integer("epochs", 10, "Of each training.")
flags.DEFINE_integer("labels", 0, "Labelled images; 0 for none.")
flags.DEFINE_list("more", [], "More flags of the example, as width=32,draws=4.")
flags.DEFINE_string("workdir", "runs/gan_benchmark", "Where trainings are kept.")
flags.DEFINE_string(
    "output", "benchmarks/results/bayesian_gan.json", "Where the results go."
)

EXAMPLE = os.path.join(os.path.dirname(__file__), "..", "examples", "bayesian_gan.py")
SHOWN = {
    "frechet_distance": "Frechet distance",
    "precision": "precision",
    "recall": "recall",
    "modes": "classes",
}


def trained(method: str, seed: int) -> dict:
    """Returns the row of a training, whose picture goes beside the results."""
    folder = os.path.join(FLAGS.workdir, f"{method}-seed{seed}")
    given = {"method": method, "seed": seed, "epochs": FLAGS.epochs}
    given |= {"labels": FLAGS.labels, "workdir": folder}
    words = [f"--{name}={value}" for name, value in given.items()]
    words += [f"--{flag}" for flag in FLAGS.more]
    subprocess.run([sys.executable, EXAMPLE, *words], check=True)
    scores = read_json(os.path.join(folder, "scores.json"))
    if scores is None:
        raise ValueError(f"The example must leave scores. Received: none in {folder}")
    if seed == int(FLAGS.seeds[0]):
        stem = os.path.splitext(FLAGS.output)[0]
        os.makedirs(os.path.dirname(os.path.abspath(stem)), exist_ok=True)
        picture = os.path.join(folder, "samples.png")
        shutil.copyfile(picture, f"{stem}_{method}.png")
    return {"method": method, "seed": seed, **scores}


def table_of(rows: list[dict]) -> str:
    """Returns the rows as a table, one line for each way to draw samples."""
    lines = []
    for row in rows:
        parts = {"all_draws": "all draws", "one_draw": "one draw"}
        if row["method"] == "deterministic":
            parts = {"one_draw": "one network"}
        if row is rows[0]:
            lines.append(["real images", *_cells(row["real"])])
        for part, words in parts.items():
            title = f"{row['method']}, seed {row['seed']}, {words}"
            lines.append([title, *_cells(row[part])])
    return markdown_table(["", *SHOWN.values()], lines)


def _cells(scores: dict) -> list[str]:
    return [f"{scores[x]:.2f}" if x != "modes" else str(scores[x]) for x in SHOWN]


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    rows = []
    for seed in map(int, FLAGS.seeds):
        for method in FLAGS.methods:
            rows.append(trained(method, seed))
            content = {
                "what": "a DCGAN on 10,000 images of Fashion-MNIST, 28 x 28",
                **provenance(("scipy",)),
                "settings": {
                    name: FLAGS[name].value
                    for name in ("methods", "seeds", "epochs", "labels", "more")
                },
                "rows": rows,
                "markdown": table_of(rows).splitlines(),
            }
            write_json(FLAGS.output, content)
    print(table_of(rows))


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
