"""What a variable is to a posterior: layers say it of each of theirs.

The variable itself carries it, not its name and no list beside it: so it holds in
whatever reads the variable, an optimizer for one, and in a copy of the layer, a clone
of the model or one that was loaded, whose layers say it anew.
"""

from collections.abc import Iterable

import keras

from tfhyper.checks import check_choice, check_instance

POSTERIOR = "posterior"
GENERATOR = "generator"
ROLES = (POSTERIOR, GENERATOR)


def give_role(role: str, variables: Iterable[keras.Variable]) -> None:
    """Says that variables are of a posterior with a prior, or of a generator.

    Call it where a layer makes them, in `build`.

    Args:
        role: `"posterior"`: parameters of q(w), which KL(q || p) in the loss
            regularises already; or `"generator"`: the weights theta of a network
            that makes kernels, whose prior p(theta) is a choice.
        variables: Keras variables.

    Example:

    >>> class Mean(keras.layers.Layer):
    ...     def build(self, shape):
    ...         self.mean = self.add_weight(shape[-1:], name="mean")
    ...         tfhyper.layers.give_role("posterior", [self.mean])
    >>> layer = Mean()
    >>> layer.build((None, 3))
    >>> tfhyper.layers.role_of(layer.mean)
    'posterior'
    """
    check_choice("role", role, ROLES)
    rule = "Keras variables"
    for variable in check_instance("variables", variables, Iterable, rule):
        check_instance("variables", variable, keras.Variable, rule).tfhyper_role = role


def role_of(variable: keras.Variable) -> str | None:
    """Returns the role that a variable was given, or `None`.

    Example:

    >>> {v.path: tfhyper.layers.role_of(v) for v in model.trainable_variables}
    {'conv/kernel_mean': 'posterior', 'conv/kernel_rho': 'posterior',
     'norm/gamma': None, 'norm/beta': None, 'logits/kernel_mean': 'posterior',
     'logits/kernel_rho': 'posterior', 'logits/bias': None}
    """
    check_instance("variable", variable, keras.Variable, "a Keras variable")
    return getattr(variable, "tfhyper_role", None)
