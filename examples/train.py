r"""Trains a network whose weights have a posterior, and averages over its draws.

    python examples/train.py
    python examples/train.py --dataset=cifar10 --data_dir=DIR --depth=28 --width=4 \
        --prior=normal --epochs=200 --workdir=runs/cifar10
    python examples/train.py --dataset=imagenet2012 --data_dir=DIR --network=resnet \
        --epochs=90 --workdir=runs/imagenet
    python examples/train.py --dataset=cifar10 --data_dir=DIR --network=resnext \
        --depth=29 --network_options=cardinality=8,base_width=64 --workdir=runs/resnext
    python examples/train.py --strategy=mirrored --workdir=runs/mirrored

The network and the data set choose the recipe, of `tfhyper.training.RECIPES`:
optimizer, rates, decay, how images are prepared, first weights. --recipe names another
one; with `cifar` and `imagenet` all is as it was before there were others.

A run that was stopped goes on when it is started again with the same flags, on the
same devices or others. With --strategy=multi_worker the same command is started on each
machine, with TF_CONFIG in its environment or by Slurm, and --workdir in a folder that
all see.

The same is `tfhyper train`, where the package is installed: the code is in
tfhyper/cli/train.py.
"""

from tfhyper.cli import flag_sets
from tfhyper.cli.scripting import run
from tfhyper.cli.train import main

flag_sets.define_train()

if __name__ == "__main__":
    run(main)
