"""Distributions as outputs: heads, their losses, and the mixture of many draws.

A head is the last layer of a network and gives the parameters of a distribution on one
axis; its family says which they are. A loss trains it. What the draws of a network say
together is a `DrawMixture`.

    family              head                    an example's parameters
    Normal              NormalHead              loc, scale
    Laplace             LaplaceHead             loc, scale
    StudentT            StudentTHead            loc, scale, df
    NormalMixture       MixtureHead             log_weights, loc, scale
    Poisson             PoissonHead             mean
    NegativeBinomial    NegativeBinomialHead    mean, total_count
    Categorical         CategoricalHead         log_probs
    Normal              VBLLRegression          loc, scale, with weights of its own

Any layer stands before a head, one with a posterior too:

    head = tfhyper.heads.NormalHead(targets=2)
    outputs = head(tfhyper.layers.BayesDense(head.units)(features))
    model.compile("adam", tfhyper.heads.NegativeLogLikelihood(head))
"""

from tfhyper.heads.categorical import Categorical
from tfhyper.heads.counts import CountFamily, NegativeBinomial, Poisson
from tfhyper.heads.draw_mixture import DrawMixture
from tfhyper.heads.family import Components, Family, RealFamily
from tfhyper.heads.head import (
    CategoricalHead,
    DistributionHead,
    Head,
    LaplaceHead,
    MixtureHead,
    NegativeBinomialHead,
    NormalHead,
    PoissonHead,
    StudentTHead,
)
from tfhyper.heads.laplace import Laplace
from tfhyper.heads.location_scale import LocationScale
from tfhyper.heads.losses import CRPS, BetaNLL, NegativeLogLikelihood
from tfhyper.heads.normal import Normal
from tfhyper.heads.normal_mixture import NormalMixture
from tfhyper.heads.student_t import StudentT
from tfhyper.heads.vbll_regression import VBLLRegression

__all__ = [
    "CRPS",
    "BetaNLL",
    "Categorical",
    "CategoricalHead",
    "Components",
    "CountFamily",
    "DistributionHead",
    "DrawMixture",
    "Family",
    "Head",
    "Laplace",
    "LaplaceHead",
    "LocationScale",
    "MixtureHead",
    "NegativeBinomial",
    "NegativeBinomialHead",
    "NegativeLogLikelihood",
    "Normal",
    "NormalHead",
    "NormalMixture",
    "Poisson",
    "PoissonHead",
    "RealFamily",
    "StudentT",
    "StudentTHead",
    "VBLLRegression",
]
