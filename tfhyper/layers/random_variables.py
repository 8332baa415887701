"""Any layer of Keras with random variables: a posterior over those that are chosen."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_private
from tfhyper.checks import check_instance
from tfhyper.layers.chosen_variables import (
    MATRICES,
    Where,
    check_where,
    choose,
    patterns_of,
    quantized_inside,
)
from tfhyper.layers.frozen import Trainable, set_trainable_inside, trainable_inside
from tfhyper.layers.gaussian_posterior import GaussianPosterior
from tfhyper.layers.generated_kernel import check_code_shape
from tfhyper.layers.live_config import layer_inside, live_config
from tfhyper.layers.lora import Adapter, adapters_of, carry, enable, store_apart
from tfhyper.layers.moving_averages import warn_of_moving_averages
from tfhyper.layers.seeds import derive_seed
from tfhyper.layers.stochastic import StochasticLayer
from tfhyper.layers.used_layer import signature_of
from tfhyper.layers.variable_posterior import VariablePosterior
from tfhyper.layers.variational import VariationalLayer
from tfhyper.tensor_types import Structure, Tensor


@keras.saving.register_keras_serializable("tfhyper")
class RandomVariables(StochasticLayer, keras.layers.Layer):
    """A layer of any class, of which a posterior draws chosen variables.

    In a call the posterior draws the chosen variables once, for the whole batch, and
    the layer is called with these values in their place: a recurrent kernel is the
    same at each step of a sequence. All other variables, and whatever the layer does
    with its inputs, masks, states and random generators, are the layer's. In a draw of
    a predictor it is the plain layer with the drawn weights.

    Convolutions and dense layers have classes of their own, such as
    `tfhyper.layers.BayesConv2D`, with estimators of less variance.

    Variables are chosen by `where`:

        a role      "kernel", of each kind but the next; "recurrent_kernel";
                    "embeddings"; "bias"; "gamma" (the factors of a norm); "beta";
                    "lora_a", "lora_b" (the factors of `enable_lora`)
        a pattern   of a path within the layer, by `fnmatch`: "query/*", "*/kernel"
        several     of these; of several roles a layer need not have each
        a function  of a `keras.Variable`, true of the chosen ones

    A regularizer of a chosen variable gives way to the prior, if the posterior has a
    KL divergence; else it acts on the drawn values. A constraint is that of the mean.

    Args:
        layer: `keras.layers.Layer`, built or not, that has none of this package's
            random layers inside. Its variables become the posterior's mean.
        posterior: a `tfhyper.layers.VariablePosterior`, for this layer alone; `None`
            for `tfhyper.layers.GaussianPosterior()`.
        where: as above.
        **kwargs: `keras.layers.Layer` arguments: `name`, by default the layer's, and
            `trainable`. The `dtype` policy is the layer's.

    Call arguments:
        All are the layer's: inputs, masks, `initial_state`, `training` and others.
        code: with `tfhyper.layers.GeneratedPosterior`: the code of a
            `tfhyper.layers.LatentCode`, in place of one of its own; with
            `tfhyper.layers.SubspacePosterior` that of a `tfhyper.layers.SubspacePoint`.

    Output shape:
        As `layer`.

    Raises:
        TypeError: for what is no layer or posterior, or a `dtype`.
        ValueError: for a layer that is quantized and has no low-rank factors, or draws
            its weights already; a posterior that another layer has; and, when it is
            built, a `where` of which a pattern, or all roles together, choose nothing.

    Example:

    >>> inputs = keras.Input((None,), dtype="int32")
    >>> x = tfhyper.layers.RandomVariables(keras.layers.Embedding(50, 8))(inputs)
    >>> lstm = keras.layers.LSTM(16, dropout=0.1)
    >>> x = tfhyper.layers.RandomVariables(lstm, where=["*kernel", "bias"])(x)
    >>> model = keras.Model(inputs, keras.layers.Dense(2)(x))
    >>> len(tfhyper.layers.variational_layers(model))
    2

    Reference:
        Fortunato, Blundell, Vinyals: Bayesian recurrent neural networks, arXiv
        1704.02798, 2017 (one draw for a sequence).
    """

    takes_all_arguments = True
    kernel_description = "whose variables are drawn"

    def __init__(
        self,
        layer: keras.layers.Layer,
        posterior: VariablePosterior | None = None,
        where: Where = MATRICES,
        **kwargs: Any,
    ):
        check_instance("layer", layer, keras.layers.Layer, "a Keras layer")
        rule = "a `tfhyper.layers.VariablePosterior`, or None"
        check_instance("posterior", posterior, VariablePosterior | None, rule)
        if kwargs.pop("dtype", None) is not None:
            raise TypeError(
                "`dtype` must be left out: the policy is that of `layer`. Received: "
                "a `dtype`"
            )
        self._check_layer(layer)
        # The values are drawn in the precision of the variables, and the inputs are
        # cast by the layer itself.
        # One that is frozen may hold layers that are not.
        trained = layer.trainable or any(v.trainable for v in layer.variables)
        kwargs = {"name": layer.name, "trainable": trained, **kwargs}
        super().__init__(dtype=layer.variable_dtype, **kwargs)
        self.autocast = False
        self.supports_masking = True
        self.layer = layer
        self.adapters = adapters_of(layer)
        self.inside: Trainable = {}
        if posterior is None:
            posterior = GaussianPosterior(name=f"{self.name}_posterior")
        self.posterior = posterior
        if self.posterior.is_taken:
            raise ValueError(
                "`posterior` must be of one layer alone, whose variables it has. "
                f"Received: posterior={posterior!r}, that of another layer"
            )
        self.posterior.is_taken = True
        self.noise_kind = self.posterior.noise_kind
        self.where = check_where(where)
        # Symbols of the arguments that the layer was built with, as (args, kwargs).
        self._symbols: Any = None
        arguments = ["training"] + ["code"] * self.posterior.takes_code
        keras_private.take_call_arguments(self, signature_of(layer, arguments))

    @staticmethod
    def _check_layer(layer: keras.layers.Layer) -> None:
        for inner in keras_private.flatten_layers(layer):
            if isinstance(inner, StochasticLayer | VariationalLayer):
                raise ValueError(
                    "`layer` must hold no layer that draws its weights already. "
                    f"Received: layer '{layer.name}' ({type(layer).__name__}) with "
                    f"'{inner.name}' ({type(inner).__name__})"
                )
        if layer.built:
            _check_precision(layer)

    def __call__(self, *args: Any, **kwargs: Any) -> Structure:
        """Returns what the layer returns; builds it first, if it is not built."""
        if not self.built:
            own = {name: x for name, x in kwargs.items() if name != "code"}
            self._symbols = keras.tree.map_structure(_symbol, (args, own))
            if not _is_built(self.layer):
                self._build_by_call(self.layer)
            self.build()
        return super().__call__(*args, **kwargs)

    def _build_by_call(self, layer: keras.Layer) -> None:
        """Builds such a layer by what this one was called with.

        A layer knows the shapes of its own arguments, and one without a `build` makes
        the variables of those inside of it when it is called.
        """
        # A call gives a symbol its place in a graph: each has its own.
        args, kwargs = keras.tree.map_structure(_symbol, self._symbols)
        # The paths of its variables are those that a call gives them.
        with keras.name_scope(self.name):
            layer(*args, **kwargs)

    def build(self, *shapes: Any, **named_shapes: Any) -> None:
        """Builds the layer, by the shapes that its `build` takes, and the posterior.

        Args:
            *shapes: none for a layer that is built.
            **named_shapes: as `shapes`, by name.
        """
        if not self.layer.built:
            self.layer.build(*shapes, **named_shapes)
        enable(self.layer, self.adapters)
        self.adapters = adapters_of(self.layer)
        set_trainable_inside(self.layer, self.inside)
        store_apart(self.layer)
        _check_precision(self.layer)
        self.posterior.dtype_policy = self.layer.variable_dtype
        chosen = choose(self.layer, self.where)
        if callable(self.where):
            self.where = patterns_of(chosen)  # which a file can hold
        self._regularizers = [x.variable.regularizer for x in chosen]
        for x in chosen:
            # It is of what is drawn, not of the mean.
            x.variable.regularizer = None
        self.posterior.build_for(chosen, self._made_anew)
        self.built = True

    def _made_anew(self, seed: int) -> list[keras.Variable]:
        """Returns the chosen variables of another such layer, as it starts."""
        config = _with_other_seeds(live_config(self.layer), seed)
        again = type(self.layer).from_config(config)
        if self._symbols is None:
            again.build_from_config(self.layer.get_build_config() or {})
        else:
            self._build_by_call(again)
        found = [x.variable for x in choose(again, self.where)]
        shapes = [tuple(x.variable.shape) for x in choose(self.layer, self.where)]
        if [tuple(x.shape) for x in found] != shapes:
            raise ValueError(
                f"Layer '{self.layer.name}' ({type(self.layer).__name__}) must have "
                "all its variables from its config and the shapes of its inputs, so "
                "that others can be made as it starts. Received: a layer of which "
                "another one has other variables"
            )
        return found

    def call(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Returns what the layer returns, with values of one draw."""
        noise = self._noise_of_call(args, kwargs, training)
        values = self.posterior.values(noise)
        if not isinstance(self.posterior, VariationalLayer):
            for regularizer, value in zip(self._regularizers, values, strict=True):
                if regularizer is not None:
                    self.add_loss(regularizer(value))
        if keras_private.takes_training(self.layer):
            kwargs["training"] = training
        return self._call_with(values, args, kwargs)

    def _noise_of_call(
        self, args: tuple, kwargs: dict[str, Any], training: bool | None
    ) -> Tensor:
        """Returns the noise of a call, and takes a code out of its arguments."""
        code = None
        if self.posterior.takes_code:
            if not training:
                warn_of_moving_averages(self)
            code = kwargs.pop("code", None)
        if code is not None:
            check_code_shape(code.shape, self.posterior.code_units)
            return code
        leaves = keras.tree.flatten((args, kwargs))
        inputs = next(x for x in leaves if ops.is_tensor(x))
        return self.posterior.begin_call(inputs, training)

    def _call_with(
        self, values: Sequence[Tensor], args: tuple, kwargs: dict[str, Any]
    ) -> Any:
        """Calls the layer with values in place of the chosen variables."""
        drawn = self._by_variable(values)
        # A scope sees nothing of the one around it.
        variables = [*self.layer.variables, *_states_of(self.layer)]
        mapping = [(v, drawn.get(id(v), v.value)) for v in variables]
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            before = {id(v): scope.get_current_value(v) for v, _ in mapping}
            outputs = self.layer(*args, **kwargs)
        # What the layer counts and keeps: seeds, states, moving averages.
        for variable, _ in mapping:
            value = scope.get_current_value(variable)
            if value is not before[id(variable)] and id(variable) not in drawn:
                variable.assign(value)
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def _by_variable(self, values: Sequence[Tensor]) -> dict[int, Tensor]:
        """Returns id of a chosen variable -> its value, in the variable's dtype."""
        return {
            id(x.variable): ops.cast(value, x.variable.dtype)
            for x, value in zip(self.posterior.chosen, values, strict=True)
        }

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the specifications of the layer's outputs."""
        if not keras_private.takes_training(self.layer):
            kwargs.pop("training", None)
        if self.posterior.takes_code:
            kwargs.pop("code", None)
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the shapes of the layer's outputs."""
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_mask(self, inputs: Structure, previous_mask: Structure) -> Any:
        """Returns `None`: what the layer gives has its mask from the layer itself."""
        return None

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        return self.posterior.sample_noise(seed, index, ensemble_seed)

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        return self.posterior.fresh_noise(seed, count, index)

    def mean_noise(self) -> np.ndarray | None:
        return self.posterior.mean_noise()

    def point_layer(self) -> keras.Layer:
        layer = type(self.layer).from_config(live_config(self.layer))
        carry(self.layer, layer)
        return layer

    def point_weights(self, noise: Tensor) -> list:
        drawn = self._by_variable(self.posterior.values(noise))
        return [drawn.get(id(x), x) for x in self.layer.weights]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        config = super().get_config()
        del config["dtype"]
        serialize = keras.saving.serialize_keras_object
        where = serialize(self.where) if callable(self.where) else list(self.where)
        # Of a layer that is not built yet, what it will be given.
        inside = trainable_inside(self.layer) if self.built else self.inside
        return {
            **config,
            "layer": serialize(self.layer),
            "posterior": serialize(self.posterior),
            "where": where,
            **({"adapters": [list(x) for x in self.adapters]} if self.adapters else {}),
            **({"trainable_inside": list(inside.items())} if inside else {}),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RandomVariables":
        config = dict(config)
        adapters = config.pop("adapters", [])
        inside = config.pop("trainable_inside", [])
        parts = ("posterior", "where")
        found = {
            name: keras.saving.deserialize_keras_object(config[name]) for name in parts
        }
        layer = cls(**{**config, **found, "layer": layer_inside(config)})
        layer.adapters = [Adapter(*x) for x in adapters]
        layer.inside = dict(inside)
        return layer

    def get_build_config(self) -> dict[str, Any] | None:
        """Returns what the layer is built from; `None` before it is built."""
        if not self.built:
            return None
        call = keras.saving.serialize_keras_object(self._symbols)
        return {"layer": self.layer.get_build_config(), "call": call}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds the layer as it was, and the posterior."""
        # Files of before have no "call".
        self._symbols = keras.saving.deserialize_keras_object(config.get("call"))
        if self._symbols is not None and not _is_built(self.layer):
            self._build_by_call(self.layer)
        elif not self.layer.built:
            with keras.name_scope(self.name):
                self.layer.build_from_config(config["layer"] or {})
        self.build()


def _is_built(layer: keras.layers.Layer) -> bool:
    """Whether a layer has its variables: one without a `build` says so too early."""
    return all(x.built for x in keras_private.flatten_layers(layer))


def _check_precision(layer: keras.layers.Layer) -> None:
    """Raises ValueError for a built layer of quantized weights, if that is all."""
    inner = quantized_inside(layer)
    if inner is not None and not adapters_of(layer):
        raise ValueError(
            "`layer` must have weights of full precision, or low-rank factors: "
            f"quantized ones have no posterior. Received: layer '{layer.name}' "
            f"({type(layer).__name__}) with '{inner.name}', quantized to "
            f"{inner.quantization_mode!r}"
        )


def _states_of(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns what stateful recurrent layers keep, which is none of their variables."""
    known = {id(v) for v in layer.variables}
    states = [
        getattr(inner, "states", None) for inner in keras_private.flatten_layers(layer)
    ]
    return [
        x
        for x in keras.tree.flatten(states)
        if isinstance(x, keras.Variable) and id(x) not in known
    ]


def _with_other_seeds(config: Any, seed: int) -> Any:
    """Returns a config whose seeds, at any depth, are mixed with another one."""
    if isinstance(config, dict):
        return {
            name: derive_seed(abs(x), seed)
            if name == "seed" and type(x) is int
            else _with_other_seeds(x, seed)
            for name, x in config.items()
        }
    if type(config) in (list, tuple):
        return type(config)(_with_other_seeds(x, seed) for x in config)
    return config


def _symbol(x: Any) -> Any:
    """Returns a symbolic tensor of no graph for a tensor or an array."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return keras.KerasTensor(x.shape, keras.backend.standardize_dtype(x.dtype))
    return x
