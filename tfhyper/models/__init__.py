"""Networks: a skeleton, filled by a kit."""

from tfhyper.models.alexnet import alexnet
from tfhyper.models.lenet5 import lenet5
from tfhyper.models.plain import plain_network
from tfhyper.models.registry import NETWORKS
from tfhyper.models.residual import residual_network
from tfhyper.models.resnet_cifar import resnet_cifar
from tfhyper.models.wide_resnet import wide_resnet

__all__ = [
    "NETWORKS",
    "alexnet",
    "lenet5",
    "plain_network",
    "residual_network",
    "resnet_cifar",
    "wide_resnet",
]
