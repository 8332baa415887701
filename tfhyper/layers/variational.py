"""Layers whose posterior has a density, so that the loss gains a KL divergence."""

import keras

from tfhyper.checks import check_instance


class VariationalLayer:
    """Part of a layer whose posterior q(w) has a KL divergence from a prior p(w).

    The term kl_weight * kl_factor * KL(q || p) is the regularizer of one of the
    layer's variables. So `model.losses` holds it once for each layer, whatever
    the number of calls, before and after the first one, in `model.fit` and in
    any other loop that adds `model.losses`. `kl_weight` is a float >= 0, an
    attribute of the layer; `kl_factor` a weight, which schedules set.

    Example:

    >>> layer = tfhyper.layers.BayesDense(10, kl_weight=1 / 60_000)
    >>> layer.build((None, 64))
    >>> float(layer.losses[0]) == float(layer.kl_divergence()) / 60_000
    """

    def build_kl_factor(self) -> None:
        """Makes the weight that schedules set, 1 at the start."""
        # A weight, not an attribute: a compiled training step would not see the
        # attribute change.
        self.kl_factor = keras.Layer.add_weight(
            self,
            shape=(),
            initializer="ones",
            trainable=False,
            autocast=False,
            name="kl_factor",
        )

    def check_no_regularizer(self) -> None:
        """Raises ValueError for a regularizer of the kernel."""
        name = f"{self.kernel_argument}_regularizer"
        if getattr(self, name) is not None:
            raise ValueError(
                f"`{name}` must be None: the prior is the regularizer. "
                f"Received: {name}={getattr(self, name)!r}"
            )

    def kl_divergence(self):
        """Returns KL(q || p) in nats, summed over all weights: a scalar tensor.

        Where it has no formula, an estimate with one draw, which is a function of
        the weights alone: their counts of draws say which draw.
        """
        raise NotImplementedError

    def weighted_kl(self, _=None):
        """Returns the layer's term of the loss. Called as a regularizer."""
        return self.kl_weight * self.kl_factor * self.kl_divergence()


def variational_layers(model: keras.Layer) -> list[VariationalLayer]:
    """Returns the layers with a KL divergence of a model, nested ones included.

    Raises:
        TypeError: for what is no layer or model of Keras.

    Example:

    >>> [layer.name for layer in tfhyper.layers.variational_layers(model)]
    """
    check_instance("model", model, keras.Layer, "a Keras model or layer")
    layers = model._flatten_layers(include_self=True)
    return [layer for layer in layers if isinstance(layer, VariationalLayer)]
