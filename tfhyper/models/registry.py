"""Name -> builder of a network: what flags offer and what tests run over."""

from collections.abc import Callable

from tfhyper.models.wide_resnet import wide_resnet

NETWORKS: dict[str, Callable] = {"wide_resnet": wide_resnet}
