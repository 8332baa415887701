"""Networks: a skeleton, filled by a kit."""

from collections.abc import Callable

import keras

from tfhyper.models.alexnet import alexnet
from tfhyper.models.dcgan import dcgan_discriminator, dcgan_generator
from tfhyper.models.deeplab_cifar import deeplab_cifar
from tfhyper.models.edsr import edsr
from tfhyper.models.espcn import espcn
from tfhyper.models.lenet5 import lenet5
from tfhyper.models.plain import plain_network
from tfhyper.models.pyramidnet import pyramidnet
from tfhyper.models.residual import residual_network
from tfhyper.models.resnet import resnet
from tfhyper.models.resnet import resnet50 as resnet50  # its old name
from tfhyper.models.resnet_cifar import resnet_cifar
from tfhyper.models.resnext import resnext
from tfhyper.models.segnet import segnet
from tfhyper.models.unet import unet
from tfhyper.models.wide_resnet import wide_resnet

# Name -> builder of a classifier: what flags offer and what tests run over.
NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "alexnet": alexnet,
    "lenet5": lenet5,
    "pyramidnet": pyramidnet,
    "resnet": resnet,
    "resnet_cifar": resnet_cifar,
    "resnext": resnext,
    "wide_resnet": wide_resnet,
}

# The same of networks that give a class for each pixel.
SEGMENTERS: dict[str, Callable[..., keras.Model]] = {
    "deeplab_cifar": deeplab_cifar,
    "segnet": segnet,
    "unet": unet,
}

# The same of networks that enlarge pictures.
SUPER_RESOLVERS: dict[str, Callable[..., keras.Model]] = {"edsr": edsr, "espcn": espcn}

__all__ = [
    "NETWORKS",
    "SEGMENTERS",
    "SUPER_RESOLVERS",
    "alexnet",
    "dcgan_discriminator",
    "dcgan_generator",
    "deeplab_cifar",
    "edsr",
    "espcn",
    "lenet5",
    "plain_network",
    "pyramidnet",
    "residual_network",
    "resnet",
    "resnet_cifar",
    "resnext",
    "segnet",
    "unet",
    "wide_resnet",
]
