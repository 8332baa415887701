"""Every kit, ready for the tests that run over them."""

from tfhyper import kits

# What a kit cannot do without.
ARGUMENTS = {
    "bayes": {"num_examples": 100},
    "bayesian_hypernet": {"num_examples": 100},
    "concrete_dropout": {"num_examples": 100},
    # Without flows, whose masks leave out weights of small layers in some steps.
    "mnf": {"num_examples": 100, "num_flows": 0},
    "variational_dropout": {"num_examples": 100},
    "vbll": {"num_examples": 100},
}


def plain_layer(layer):
    """Returns the layer of Keras that a kit's layer has inside, or is."""
    return getattr(layer, "layer", layer)


def plain_layers(model):
    return [plain_layer(layer) for layer in model.layers]


def make_kit(name, **options):
    return kits.KITS[name](**{**ARGUMENTS.get(name, {}), **options})
