"""Which layers of Keras `tfhyper.convert` draws: each with weights, with three kits.

Each public layer of `keras.layers` that has weights stands in a small model, in front
of a dense layer, with weights that are none a layer starts with. The model is converted
with the kits `hyper`, `bayes` and `mc_dropout`, and what the copy gives at the
posterior's mean (a generated one's code 0, dropout off) is compared with what the model
gives. Takes a minute.

    python benchmarks/convert_table.py --out=benchmarks/results/convert_table.json
"""

from typing import Any

from absl import app, flags
from convert_layers import KITS, TOLERANCE, table
from report import markdown_table, provenance, show_own_flags, write_json

FLAGS = flags.FLAGS
flags.DEFINE_string("out", None, "JSON file to write.")


def show(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Returns the table in Markdown."""

    def cell(judged: dict[str, Any]) -> str:
        if judged["difference"] > TOLERANCE:
            return f"differs by {judged['difference']:.1g}"
        return judged["action"] + ", with a warning" * judged["is_left"]

    rows = [[name, *map(cell, kits.values())] for name, kits in found.items()]
    return markdown_table(["layer", *KITS], rows)


def main(_: Any) -> None:
    found = table()
    print(show(found))
    if FLAGS.out:
        about = {**provenance(), "tolerance": TOLERANCE}
        write_json(FLAGS.out, {**about, "layers": found})


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
