"""Names that flags offer, written down: the parts that know them import Keras.

`tests/cli/test_choices.py` holds them to what these parts know.
"""

AVERAGING = ("branching", "parallelizing", "widening")
BATCH_NORMS = ("synchronized", "per_replica")
KITS = (
    "bayes",
    "bayesian_hypernet",
    "concrete_dropout",
    "deterministic",
    "drop_connect",
    "hyper",
    "mc_dropout",
    "mnf",
    "rank_one",
    "sngp",
    "static_hypernet",
    "subspace",
    "variational_dropout",
    "vbll",
)
# Old names of networks, which commands and folders of trainings have -> those of now.
FORMER_NETWORKS = {"resnet50": "resnet"}
METHODS = (
    "map",
    "map_temperature",
    "mc_dropout",
    "mcbn",
    "hyper_ivon",
    "bayes",
    "sngp",
    "vbll",
    "laplace",
    "ensemble",
)
NETWORKS = (
    "alexnet",
    "lenet5",
    "pyramidnet",
    "resnet",
    "resnet_cifar",
    "resnext",
    "wide_resnet",
)
PRIORS = ("half_normal", "normal", "symmetric_uniform", "uniform")
# Recipes of before there were others.
FORMER_RECIPES = ("cifar", "imagenet")
RECIPES = (
    "wrn-cifar10",
    "wrn-cifar100",
    "wrn-svhn",
    "wrn-embedded",
    "resnext-cifar10",
    "resnext-cifar100",
    "pyramidnet-cifar10",
    "pyramidnet-cifar100",
    "resnet-imagenet",
    "bayesian-cnn",
    "mnf",
    "hypernetworks",
    "wrn-original",
    "wrn-svhn-dropout",
    "resnext-cifar10-4.1",
    "pyramidnet-cifar10-4.1",
    "resnet-imagenet-he",
    "bayesian-cnn-code",
)
SCORES = ("total", "aleatoric", "epistemic", "confidence")
SHARING = ("all_in_one", "block_wise", "layer_wise")
STRATEGIES = ("none", "mirrored", "multi_worker")
