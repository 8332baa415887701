"""Generative adversarial networks whose two networks may have a posterior."""

from tfhyper.gan.model import BayesianGAN

__all__ = ["BayesianGAN"]
