"""A generator and a discriminator that are trained against each other."""

from collections.abc import Iterable
from typing import Any

import keras
from keras import ops

from tfhyper import keras_graph
from tfhyper.checks import check_instance, check_integer, check_number
from tfhyper.gan import losses
from tfhyper.keras_private import is_functional
from tfhyper.layers.draw_counter import DrawCounter
from tfhyper.layers.seeds import StatelessSeed, check_seed
from tfhyper.tensor_types import Structure, Tensor

_NAMES = ("images", "labelled", "labels")


@keras.saving.register_keras_serializable("tfhyper")
class BayesianGAN(DrawCounter, keras.Model):
    """A generative adversarial network of two networks that may have a posterior.

    A step draws codes z from N(0, I), the weights of the generator G and those of the
    discriminator D, each once, and minimises, with D's logit of "real" in mind,

        L_D = mean softplus(-D(x)) + mean softplus(D(G(z))) [+ cross-entropy of labels]
        L_G = mean softplus(-D(G(z)))                       (non-saturating)

    by D's weights and G's, each beside the KL divergences of its own layers, as
    `tfhyper.kits.bayes(num_examples)` has them, 1 / num_examples of each. The loss that
    Keras shows is the sum of all these: L_D has no gradient for G and L_G none for D,
    so that one backward pass gives both networks their own, and one optimizer steps
    both at once. It has to be elementwise for that (Adam, SGD and their kin, without
    `global_clipnorm`). With networks of stock layers it is the usual GAN. On all
    backends, on one device.

    D sees images of the data and generated ones in calls of their own, each with its
    own moments of BatchNorm, and both under the same draw. After training,
    `tfhyper.PosteriorPredictor` averages over the draws of either: of the generator
    (`outputs="mean"`) a member is what a draw makes of the same z, and of the
    discriminator (`outputs="sigmoid"`, or classes) the epistemic uncertainty is what
    its draws do not agree on.

    Saatchi and Wilson (2017) sample both posteriors by stochastic gradient Hamiltonian
    Monte Carlo, with the likelihoods above; here they are variational, or implicit by
    hypernetworks.

    Args:
        generator: a built functional or Sequential model, codes (batch, latent_dim) in,
            images out. It is used and not copied.
        discriminator: the same, images in, outputs (batch, 1) or, with K > 1 classes
            of real images, (batch, K).
        ema_momentum: float in 0 <= ema_momentum < 1, or `None`. With it
            `averaged_generator` holds the exponential moving average of the generator's
            weights, those before each step.
        seed: int in 0 <= seed < 2**31 of the codes, `None` for a fresh one.
        **kwargs: `keras.Model` arguments such as `name`.

    Attributes:
        generator: G.
        discriminator: D.
        averaged_generator: a generator with averaged weights, or `None`.
        latent_dim: the size of z.
        num_classes: K, 1 without labels.

    Raises:
        TypeError: if a network is no Keras model.
        ValueError: for networks that are not built or do not fit together, or an
            argument out of range; in training, for data that do not fit, a `loss` in
            `compile`, `global_clipnorm`, or several replicas.

    Example:

    >>> shape = (28, 28, 1)
    >>> gan = tfhyper.gan.BayesianGAN(
    ...     tfhyper.models.dcgan_generator(4, image_shape=shape, latent_dim=8),
    ...     tfhyper.models.dcgan_discriminator(4, input_shape=shape),
    ...     seed=0,
    ... )
    >>> gan.compile(keras.optimizers.Adam(2e-4, beta_1=0.5))
    >>> history = gan.fit(np.zeros((4, *shape)), batch_size=2, verbose=0).history
    >>> sorted(history)
    ['discriminator_loss', 'generator_loss', 'loss']
    >>> gan.generator.predict(gan.codes(3), verbose=0).shape
    (3, 28, 28, 1)

    References:
        Goodfellow et al.: Generative adversarial nets, NeurIPS 2014, section 3.
        Saatchi, Wilson: Bayesian GAN, NeurIPS 2017, sections 2.1 and 2.3.
        Salimans et al.: Improved techniques for training GANs, NeurIPS 2016, section 5.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        ema_momentum: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        _check_network("generator", generator)
        _check_network("discriminator", discriminator)
        _check_fit(generator, discriminator)
        if ema_momentum is not None:
            ema_momentum = check_number("ema_momentum", ema_momentum, below=1)
        seed = check_seed(seed)
        kwargs.setdefault("dtype", discriminator.dtype_policy)
        super().__init__(**kwargs)
        # Labels stay ints; the networks cast images themselves.
        self.autocast = False
        self.generator, self.discriminator = generator, discriminator
        self.averaged_generator: keras.Model | None = None
        if ema_momentum is not None:
            self.averaged_generator = keras_graph.duplicate(generator)
            self.averaged_generator.trainable = False
        self.ema_momentum, self.seed = ema_momentum, seed
        self.latent_dim = int(generator.inputs[0].shape[-1])
        self.num_classes = int(discriminator.outputs[0].shape[-1])
        self.build_counter()
        names = ["discriminator_loss", "generator_loss"]
        names += ["label_loss"] * (self.num_classes > 1)
        self.trackers = [keras.metrics.Mean(name=name) for name in names]
        self.built = True

    def codes(self, count: int, seed: int = 0) -> Tensor:
        """Returns codes z from N(0, I): float32, (count, latent_dim).

        Args:
            count: int > 0, how many.
            seed: int in 0 <= seed < 2**31; the same seed gives the same codes.

        Example:

        >>> shape = (8, 8, 1)
        >>> gan = tfhyper.gan.BayesianGAN(
        ...     tfhyper.models.dcgan_generator(4, image_shape=shape, latent_dim=8),
        ...     tfhyper.models.dcgan_discriminator(4, input_shape=shape),
        ... )
        >>> gan.codes(5, seed=1).shape
        (5, 8)
        """
        shape = (check_integer("count", count, 1), self.latent_dim)
        key = StatelessSeed(check_integer("seed", seed, 0, 2**31 - 1), 0)
        return keras.random.normal(shape, dtype="float32", seed=key)

    def call(self, inputs: Structure, training: bool | None = None) -> Structure:
        """Returns D's outputs for images; in training, the losses of a step.

        Args:
            inputs: images (batch, height, width, channels), in the range of the
                generator's. In training with K > 1 classes a dict: `images`, and
                `labelled` with `labels`, images whose classes are known and ints; their
                batch may be of another size.
            training: bool.

        Returns:
            Outputs of the discriminator, (batch, K); in training a dict of scalar
            tensors, `discriminator_loss`, `generator_loss` and, with classes,
            `label_loss`, whose sum is one of the model's losses.
        """
        if not training:
            images = inputs["images"] if isinstance(inputs, dict) else inputs
            return self.discriminator(images, training=False)
        self._check_training()
        found = self._check_inputs(inputs)
        self._average()
        images = found["images"]
        seed = StatelessSeed(self.seed, self.next_count(True), by_example=True)
        shape = (ops.shape(images)[0], self.latent_dim)
        codes = keras.random.normal(shape, dtype="float32", seed=seed)
        generated = self.generator(codes, training=True)

        calls = _CallsOfOneDraw(self.discriminator)
        real = calls.call(images)
        of_generated = calls.call(ops.stop_gradient(generated))
        told = {
            "discriminator_loss": losses.discriminator_loss(real, of_generated),
            "generator_loss": losses.generator_loss(calls.call_fixed(generated)),
        }
        if self.num_classes > 1:
            outputs = calls.call(found["labelled"])
            told["label_loss"] = losses.label_loss(outputs, found["labels"])
        # What layers add to the loss counts once, whatever the number of calls.
        for loss in [*calls.end(), sum(told.values())]:
            self.add_loss(loss)
        return told

    def compute_loss(
        self,
        x: Structure = None,
        y: Structure = None,
        y_pred: Structure = None,
        sample_weight: Structure = None,
        training: bool = True,
    ) -> Tensor:
        """Returns the sum of the model's losses, and notes those that it shows.

        Raises:
            ValueError: outside of training: the loss of a GAN says nothing of its
                images.
        """
        if not isinstance(y_pred, dict):
            raise ValueError(
                "`BayesianGAN` must be judged by its images, as `tfhyper.metrics` "
                "does, or by a predictor of its discriminator; it has no `evaluate` "
                f"and no validation data. Received: training={training}"
            )
        for tracker in self.trackers:
            tracker.update_state(y_pred[tracker.name])
        return super().compute_loss(x=x, training=training)

    def _check_training(self) -> None:
        """Raises ValueError if the model cannot be trained as it is compiled."""
        if not self.compiled:
            return  # in a loop of the user's
        if self.loss is not None:
            raise ValueError(
                "`loss` must be None in `compile`: the model has its own. "
                f"Received: loss={self.loss!r}"
            )
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        limit = getattr(optimizer, "global_clipnorm", None)
        if limit is not None:
            raise ValueError(
                "`optimizer` must be without `global_clipnorm`, which would mix the "
                "gradients of both networks. Received: "
                f"optimizer.global_clipnorm={limit}"
            )
        strategy = getattr(self, "distribute_strategy", None)
        replicas = getattr(strategy, "num_replicas_in_sync", 1)
        if replicas > 1:
            raise ValueError(
                "`BayesianGAN` must be compiled for one device. Received: a strategy "
                f"of {replicas} replicas"
            )

    def _check_inputs(self, inputs: Structure) -> dict[str, Tensor]:
        found = inputs if isinstance(inputs, dict) else {"images": inputs}
        names = _NAMES[: 1 if self.num_classes == 1 else 3]
        if set(found) != set(names):
            raise ValueError(
                f"`x` must hold {', '.join(names)} for a discriminator of "
                f"{self.num_classes} output(s). Received: x with {', '.join(found)}"
            )
        return found

    def _average(self) -> None:
        """Moves the averaged generator towards the generator as it is."""
        momentum = self.ema_momentum
        if self.averaged_generator is None or momentum is None:
            return
        pairs = zip(
            self.averaged_generator.weights, self.generator.weights, strict=True
        )
        for average, weight in pairs:
            if keras.backend.is_float_dtype(weight.dtype):
                now = ops.multiply(ops.stop_gradient(weight), 1 - momentum)
                average.assign(ops.multiply(average, momentum) + now)

    def get_config(self) -> dict[str, Any]:
        """Returns what the model can be made from."""
        to_config = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "generator": to_config(self.generator),
            "discriminator": to_config(self.discriminator),
            "ema_momentum": self.ema_momentum,
            "seed": self.seed,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "BayesianGAN":
        """Returns the model of a config."""
        networks = {
            name: keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
            for name in ("generator", "discriminator")
        }
        return cls(**{**config, **networks})


class _CallsOfOneDraw:
    """Calls a network several times in a training step, as if it drew once.

    Integers among its variables say which draw is next: counts, and the states of
    random generators. Each call begins with those of the first; moving averages go on
    from call to call.
    """

    def __init__(self, network: keras.Model):
        self._network = network
        self._variables = network.non_trainable_variables
        self._values = [ops.convert_to_tensor(v.value) for v in self._variables]
        self._start = list(self._values)
        # All of them: a scope within a scope, as JAX has one, sees no others.
        self._trained = [
            (v, ops.convert_to_tensor(v.value)) for v in network.trainable_variables
        ]
        self._losses: list[Tensor] | None = None

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the network's outputs."""
        scope, outputs = self._run(inputs, self._trained)
        if self._losses is None:
            self._losses = list(scope.losses)
        self._values = [scope.get_current_value(v) for v in self._variables]
        return outputs

    def call_fixed(self, inputs: Tensor) -> Tensor:
        """Returns the outputs, with a gradient of the inputs alone; nothing stays."""
        fixed = [(v, ops.stop_gradient(value)) for v, value in self._trained]
        return self._run(inputs, fixed)[1]

    def end(self) -> list[Tensor]:
        """Sets the variables, and returns what the layers added to the loss once."""
        for variable, value, start in zip(
            self._variables, self._values, self._start, strict=True
        ):
            if value is not start:
                variable.assign(value)
        return self._losses or []

    def _run(
        self, inputs: Tensor, trained: Iterable[tuple[keras.Variable, Tensor]]
    ) -> tuple[keras.StatelessScope, Tensor]:
        values = [
            value if keras.backend.is_float_dtype(variable.dtype) else start
            for variable, value, start in zip(
                self._variables, self._values, self._start, strict=True
            )
        ]
        known = [*zip(self._variables, values, strict=True), *trained]
        scope = keras.StatelessScope(known, collect_losses=True)
        with scope:
            return scope, self._network(inputs, training=True)


def _check_network(name: str, network: keras.Model) -> None:
    check_instance(name, network, keras.Model, "a Keras model")
    known = isinstance(network, keras.Sequential) or is_functional(network)
    if not (known and network.built):
        raise ValueError(
            f"`{name}` must be a built functional or Sequential model. "
            f"Received: {name}={network.name!r} ({type(network).__name__})"
        )
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ValueError(
            f"`{name}` must have one input and one output. Received: "
            f"{name}={network.name!r}, with {len(network.inputs)} and "
            f"{len(network.outputs)}"
        )


def _check_fit(generator: keras.Model, discriminator: keras.Model) -> None:
    codes = tuple(generator.inputs[0].shape)
    if len(codes) != 2 or codes[1] is None:
        raise ValueError(
            "`generator` must take codes (batch, latent_dim). Received: generator with "
            f"inputs {codes}"
        )
    images = tuple(generator.outputs[0].shape)
    taken = tuple(discriminator.inputs[0].shape)
    if images[1:] != taken[1:]:
        raise ValueError(
            "`discriminator` must take the images of `generator`, "
            f"{images}. Received: discriminator with inputs {taken}"
        )
    outputs = tuple(discriminator.outputs[0].shape)
    if len(outputs) != 2 or not outputs[1]:
        raise ValueError(
            "`discriminator` must give logits (batch, 1), or (batch, K) of K classes. "
            f"Received: discriminator with outputs {outputs}"
        )
