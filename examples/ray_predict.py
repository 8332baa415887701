r"""Predicts by a saved predictor on all machines of a Ray cluster.

    python examples/ray_predict.py --predictor=runs/wrn/predictor.tfhyper \
        --inputs=FOLDER --output=FOLDER --workers=8

--inputs holds `.npy` files of inputs, examples along the first axis, in a folder that
all machines see, as a path or an address of cloud storage. Each worker loads the
predictor once and predicts block by block, so that no machine needs memory for more;
--output gets Parquet files with a row for each example: the file and the row that it
came from, the mean prediction, and its uncertainty. Without --address the workers are
processes of this machine. `pip install "tfhyper[ray]"` brings Ray.

Saved draws are the same on every machine: the rows are those of `predictor.predict`.
"""

import os
from typing import Any

import numpy as np
from absl import flags

from tfhyper.cli.scripting import run

FLAGS = flags.FLAGS
flags.DEFINE_string("predictor", None, "File of a predictor.", required=True)
flags.DEFINE_string("inputs", None, "Folder of .npy files.", required=True)
flags.DEFINE_string("output", None, "New folder of Parquet files.", required=True)
flags.DEFINE_integer("workers", 2, "Processes that predict.", lower_bound=1)
flags.DEFINE_integer("batch_size", 128, "Examples in a batch.", lower_bound=1)
flags.DEFINE_float("gpus", 0, "GPUs of each worker, 0.5 say.", lower_bound=0)
flags.DEFINE_string("address", None, "Of a Ray cluster; `auto` for the one around.")


class Predict:
    """What a worker does: it loads the predictor once, and predicts each block."""

    def __init__(self, path: str, batch_size: int):
        from tfhyper.cli.predictor_files import load_predictor

        self._predictor = load_predictor(path)
        self._batch_size = batch_size

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        import tfhyper

        found = self._predictor.predict(
            block.pop("data"), self._batch_size, keep_members=False, verbose=0
        )
        columns = {name: getattr(found, name) for name in COLUMNS}
        if isinstance(found, tfhyper.Prediction):
            columns |= {"label": found.label, "total": found.total}
        return {**block, **columns}


# What predictions of each kind have.
COLUMNS = ("mean", "aleatoric", "epistemic")


def read(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the examples of a file, and where each is from."""
    data = np.load(row["path"], allow_pickle=False)
    name = os.path.basename(row["path"])
    return [{"file": name, "row": i, "data": x} for i, x in enumerate(data)]


def main():
    import ray

    folder, predictor = (os.path.abspath(x) for x in (FLAGS.inputs, FLAGS.predictor))
    if not os.path.isfile(predictor):
        raise ValueError(
            f"--predictor must be a file. Received: --predictor={FLAGS.predictor}"
        )
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    paths = [os.path.join(folder, name) for name in names if name.endswith(".npy")]
    if not paths:
        raise ValueError(
            "--inputs must be a folder of .npy files. "
            f"Received: --inputs={FLAGS.inputs}"
        )
    if os.path.exists(FLAGS.output):
        raise ValueError(
            f"--output must not be there yet. Received: --output={FLAGS.output}"
        )
    here = {} if FLAGS.address else {"num_cpus": FLAGS.workers + 1}
    ray.init(FLAGS.address, include_dashboard=False, **here)
    rows = ray.data.from_items([{"path": path} for path in paths]).flat_map(read)
    predicted = rows.map_batches(
        Predict,
        fn_constructor_args=(predictor, FLAGS.batch_size),
        batch_size=FLAGS.batch_size,
        num_gpus=FLAGS.gpus,
        compute=ray.data.ActorPoolStrategy(size=FLAGS.workers),
    )
    predicted.write_parquet(os.path.abspath(FLAGS.output))
    count = ray.data.read_parquet(os.path.abspath(FLAGS.output)).count()
    print(f"{count} examples of {len(paths)} files; written: {FLAGS.output}")


if __name__ == "__main__":
    run(main)
