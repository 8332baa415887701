"""Networks: a skeleton, filled by a kit."""

from tfhyper.models.registry import NETWORKS
from tfhyper.models.residual import residual_network
from tfhyper.models.wide_resnet import wide_resnet

__all__ = ["NETWORKS", "residual_network", "wide_resnet"]
