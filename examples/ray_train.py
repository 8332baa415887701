r"""Trains on all machines of a Ray cluster, by Ray Train.

    python examples/ray_train.py --workers=2 --workdir=runs/ray
    python examples/ray_train.py --address=auto --workers=8 --gpus=1 \
        --dataset=cifar10 --data_dir=DIR --depth=28 --width=4 --workdir=/shared/run

The flags are those of examples/train.py. Each worker is a process of Ray's, to which
Ray says who the others are (TF_CONFIG); what it does is what examples/train.py does
with --strategy=multi_worker: one draw of the weights a step for all, gradients and
statistics averaged. --workdir is a folder that all machines see; a run that was stopped
goes on when it is started again. Without --address the workers are processes of this
machine. `pip install "tfhyper[ray]"` brings Ray.

Machines that Kubernetes' training operator starts need none of this: it sets TF_CONFIG
itself, and `python examples/train.py --strategy=multi_worker` is what each runs
(examples/jobs/tfjob.yaml).
"""

import os
from typing import Any

from absl import flags

from tfhyper.cli import flag_sets
from tfhyper.cli.scripting import run

FLAGS = flags.FLAGS
flag_sets.define_train()
flags.DEFINE_integer("workers", 2, "Processes that train.", lower_bound=1)
flags.DEFINE_integer("gpus", 0, "GPUs of each worker.", lower_bound=0)
flags.DEFINE_string("address", None, "Of a Ray cluster; `auto` for the one around.")
OWN = ("workers", "gpus", "address")


def work(config: dict[str, Any]) -> None:
    """What each worker does: examples/train.py, as one of several."""
    from absl import flags

    from tfhyper.cli import flag_sets, train

    os.chdir(config["folder"])
    flag_sets.define_train()
    flags.FLAGS(["train.py", *config["flags"], "--strategy=multi_worker"])
    train.main()


def main():
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    if FLAGS["strategy"].present:
        raise ValueError(
            "--strategy must be left out: it is multi_worker. "
            f"Received: --strategy={FLAGS.strategy}"
        )
    given = [FLAGS[name] for name in FLAGS if FLAGS[name].present and name not in OWN]
    here = {} if FLAGS.address else {"num_cpus": FLAGS.workers + 1}
    ray.init(FLAGS.address, include_dashboard=False, **here)
    # What Ray itself keeps, beside what the training saves.
    folder = os.path.join(os.path.abspath(FLAGS.workdir), "ray")
    resources = {"CPU": 1, "GPU": FLAGS.gpus} if FLAGS.gpus else {"CPU": 1}
    TensorflowTrainer(
        work,
        train_loop_config={
            "folder": os.getcwd(),
            "flags": [flag.serialize() for flag in given],
        },
        scaling_config=ScalingConfig(
            num_workers=FLAGS.workers,
            use_gpu=FLAGS.gpus > 0,
            resources_per_worker=resources,
        ),
        run_config=RunConfig(name="train", storage_path=folder),
    ).fit()
    print(f"written: {FLAGS.workdir}")


if __name__ == "__main__":
    run(main)
