"""Name -> builder of a network: what flags offer and what tests run over."""

from collections.abc import Callable

from tfhyper.models.alexnet import alexnet
from tfhyper.models.lenet5 import lenet5
from tfhyper.models.resnet_cifar import resnet_cifar
from tfhyper.models.wide_resnet import wide_resnet

NETWORKS: dict[str, Callable] = {
    "alexnet": alexnet,
    "lenet5": lenet5,
    "resnet_cifar": resnet_cifar,
    "wide_resnet": wide_resnet,
}
