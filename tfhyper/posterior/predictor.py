"""Averaging predictions over draws of a network."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
from numpy.typing import ArrayLike

from tfhyper.checks import Verbose, check_function, check_reading
from tfhyper.conformal import ConformalRule
from tfhyper.layers import Augment
from tfhyper.posterior import width
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.draw_settings import DrawSettings, Dropout
from tfhyper.posterior.drawn_ensemble import DrawnEnsemble
from tfhyper.posterior.networks.averaging import Averaging
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.running.batch_norm_statistics import BatchNormMoments
from tfhyper.posterior.tasks.classification import Link
from tfhyper.posterior.tasks.registry import make_task
from tfhyper.posterior.tasks.rejection import Rejection
from tfhyper.scaling import Scaling
from tfhyper.tensor_types import Structure
from tfhyper.text import align
from tfhyper.variational import WeightPosterior

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on


class PosteriorPredictor(BasePredictor):
    """An ensemble of draws of one trained network.

    A draw fixes all that is random in the network. Its prediction is that of a
    plain network with the draw's kernels, and the ensemble's is their mean,

        p(y | x) = 1/N sum_n p(y | x, w_n),    w_n drawn from the posterior

    (Ukai et al., 2019, eq. 1 and "xN branching" of section 3.4).

    BatchNorm's moving averages belong to no draw: they mix the statistics of
    all the kernels that training went through. With `batch_norm="reestimate"`,
    `estimate_batch_norm` sends training inputs through each draw, as in training, and
    keeps the exact moments (section 3.5). Without it, a draw of a generated
    network predicts badly. With `batch_norm="minibatch"` the moments of a draw
    are those of one random mini-batch of `batch_size` training inputs: Monte
    Carlo Batch Normalization (Teye et al., 2018), which makes a posterior of
    any trained network with BatchNorm. It goes together with other random
    layers, and so does dropout that is on in prediction (`dropout="sample"`), with
    masks that are fixed for each draw and example (Gal and Ghahramani, 2016).

    Draws can also be averaged inside of one network, in which BatchNorm's affine
    parameters are repeated (section 3.4 and figure 4): the paper pairs
    `"branching"` with the sharing all-in-one, `"parallelizing"` with block-wise and
    `"widening"` with layer-wise; all forms take all networks whose layers draw.

    Args:
        model: a trained functional or Sequential Keras model with one output, (batch,
            ..., values). The predictor takes its weights as they are now:
            after more training, make another, or call `estimate_batch_norm` again.
        num_draws: int > 0, N; `None` for 16, or for 1 if `deterministic` or if
            nothing in the model draws.
        averaging: `"branching"`: N networks, their predictions averaged;
            `"parallelizing"`: N times each residual block, their outputs averaged;
            or `"widening"`: N times the channels in all that draws, with N^2 draws
            of each kernel, averaged behind the last random layer. The latter two
            are one network, with one member that has no epistemic part.
        batch_norm: `"reestimate"`; `"minibatch"`; or `"moving_average"` to use
            the model's own statistics for every draw. Frozen BatchNorm layers
            keep theirs, but with `"minibatch"` in a model that is frozen as a
            whole; so do layers that are called with `training=False`.
        seed: int in 0 <= seed < 2**31, from which the draws are made, or `None` for a
            fresh one.
        outputs: what the model gives:
            `"logits"` or `"probabilities"` of classes, (batch, ..., classes);
            `"label_logits"` or `"label_probabilities"` of labels each by itself,
            (batch, ..., labels), one for two classes in a column;
            `"mean"` of targets, (batch, ..., targets);
            `"mean_and_variance"`, two of these or one (batch, ..., 2 targets);
            `"distribution"` of a layer of `tfhyper.heads` at the end.
            Of several outputs a dict of these, by the model's names, or a list; then
            `link`, `noise_variance` and `ignore_class` are such dicts, too.
            `None` for what its last layer and the loss that it was compiled with say:
            a softmax or a sigmoid, a cross-entropy, a squared error. Two columns or
            more of which nothing is said are logits.
        link: how logits l become probabilities: `"softmax"`, or
            `"normalized_softplus"`, softplus(l_c) / sum_k softplus(l_k).
        deterministic: bool, True for the network at the posterior's mean, which
            is one draw: no averaging, and an epistemic uncertainty of 0. Layers
            with a Gaussian posterior have a mean kernel; generated ones do not.
        batch_size: int > 1, of the mini-batches of `batch_norm="minibatch"`:
            that of training. The smaller, the wider the posterior.
        noise_variance: float >= 0, variance of the targets around the mean,
            1 / tau, for `outputs="mean"`; or a sequence, one for each target of the
            last axis. `fit_noise` chooses it.
        dropout: `"off"`: dropout drops nothing, as in Keras' `predict`; or
            `"sample"`: it draws, wherever its rate is above 0, but with
            `deterministic`. `keras.layers.Dropout`, `SpatialDropout1D` ... `3D` and
            `tfhyper.layers.Dropout` have masks for each example, as
            `tfhyper.layers.MCDropout`; `GaussianDropout`, `AlphaDropout`, the dropout
            of attention and of recurrent layers has one noise a draw, the same for all
            examples. `None` for `"off"`, if no layer is called with `training=True`.
        rejection: `tfhyper.Rejection`, by which predictions are *unknown*, or `None`.
            `fit_rejection` chooses it.
        augment: `tfhyper.layers.Augment`, the views of the inputs that draws take
            turns in: its `flips()`, say, for images and their mirror images. Or a
            Keras layer that draws, such as `keras.layers.RandomTranslation`, with one
            noise in a draw. `None`: all draws see the inputs as they are, and so does
            the mean. The model has one input then, and `num_draws` is left out as the
            number of views if nothing else draws.
        ignore_class: int, the label that counts in no score, for void pixels, padding
            or labels that are not known; it is no class. `None` for that of the
            loss, if it is Keras' and has one.
        scaling: `tfhyper.scaling.Scaling`, by which a classifier's probabilities are
            scaled, or `None`. `fit_scaling` chooses it. Of several outputs a dict of
            these, by their names.
        conformal: `tfhyper.conformal.ConformalSets` of classes or one label,
            `ConformalIntervals` of numbers, by which predictions have `sets` or a
            `conformal_interval`, or `None`. `fit_conformal` chooses it.

    A layer of another class that draws in prediction, from `keras.random` with a
    `SeedGenerator` of its own, has one noise a draw, the same for all examples.

    Attributes:
        draws: list of `Draw`, N of them; where one network holds all N, of one,
            whose noise is that of the N (or N^2) draws stacked.

    Raises:
        TypeError: if the model's graph is not known.
        ValueError: for an argument out of range, a model that does not give
            what `outputs` says, or one with layers that a draw cannot reach;
            with `deterministic`, for a layer whose mean kernel is not known;
            with more than one draw, for a model that draws nothing; with
            `"minibatch"`, for a model without BatchNorm; with
            `dropout="sample"`, for one without such dropout.

    Example:

    >>> predictor = tfhyper.PosteriorPredictor(model, num_draws=16, seed=0)
    >>> predictor = predictor.estimate_batch_norm(x_train, verbose=0)
    >>> prediction = predictor.predict(x_test)
    >>> prediction.mean.shape, prediction.epistemic.shape
    ((2000, 10), (2000,))
    """

    kind = "PosteriorPredictor"

    source: DrawnEnsemble

    def __init__(
        self,
        model: keras.Model,
        num_draws: int | None = None,
        averaging: Averaging = "branching",
        batch_norm: BatchNormMoments = "reestimate",
        seed: int | None = 0,
        outputs: str | Mapping[str, str | None] | Sequence[str | None] | None = None,
        link: Link = "softmax",
        deterministic: bool = False,
        batch_size: int | None = None,
        noise_variance: float | Sequence[float] = 0.0,
        dropout: Dropout | None = None,
        rejection: Rejection | None = None,
        augment: Augment | keras.Layer | None = None,
        ignore_class: int | None = None,
        scaling: Scaling | Mapping[str, Any] | None = None,
        conformal: ConformalRule | None = None,
    ):
        settings = DrawSettings(
            num_draws=num_draws,
            averaging=averaging,
            batch_norm=batch_norm,
            seed=seed,
            deterministic=deterministic,
            batch_size=batch_size,
            dropout=dropout,
            augment=augment,
        )
        source = DrawnEnsemble(model, settings)
        task = make_task(
            model,
            outputs,
            link=link,
            noise_variance=noise_variance,
            ignore_class=ignore_class,
            scaling=scaling,
        )
        super().__init__(source, task, rejection, conformal)

    @classmethod
    def of_models(
        cls, models: Sequence[keras.Model | str], settings: dict[str, Any]
    ) -> "Self":
        """Returns a predictor of the only one of `models`."""
        (model,) = models
        return cls(model, **settings)

    @property
    def model(self) -> keras.Model:
        """The trained model."""
        return self.source.model

    @property
    def averaging(self) -> Averaging:
        """Where the draws are averaged: see the argument."""
        return self.source.settings.averaging

    @property
    def draws(self) -> list[Draw]:
        """The draws: see the attribute. They can be set."""
        return self.source.draws

    @draws.setter
    def draws(self, draws: list[Draw]) -> None:
        self.source.draws = draws
        self._drop_conformal("other draws")

    def weights_changed(self) -> bool:
        """Whether the model has other weights than when they were taken."""
        return self.source.weights_changed()

    def materialize(self, draw: int | Draw = 0) -> keras.Model:
        """Returns a plain Keras model with the weights of one draw.

        With `"parallelizing"` and `"widening"` that is the one network that holds
        all the draws, and averages over them. It holds stock layers alone, no
        hypernetwork, and gives what the model gives. Nested models come out flat. In
        place of dropout that draws, it has a layer with the draw's masks, where
        example i of every batch has the mask of example i of the data. All draws in
        one model are what `materialize_average` gives.

        Args:
            draw: a `Draw`, or the index of one of `draws`.

        Raises:
            ValueError: if `draw` is out of range, or if `estimate_batch_norm` is due.
        """
        return self.source.materialize(draw)

    def fit_width(
        self,
        x: Structure,
        y: ArrayLike | None = None,
        *,
        moments: Structure = None,
        batch_size: int = 128,
        verbose: Verbose = 1,
        sample_weight: ArrayLike | None = None,
    ) -> "Self":
        """Chooses how wide a posterior of all weights is, by held-out examples.

        For a `tfhyper.Variational`, and other posteriors of weights with a covariance.
        It is multiplied by 1, 1/2, 1/4, ... (or by 2, 4, ...) as long as the negative
        log-likelihood of the averaged prediction falls, each time with the same noise
        and with new moments of BatchNorm; the best is kept. The means stay as they
        are, and nothing is trained. What training learns is the width that its loss
        and its prior ask for, which is too wide in some settings and right in others
        (a posterior below temperature 1 is called cold).

        `model` is then the posterior of that width, which shares the weights of the one
        before: `predictor.model.temperature` of a `Variational`. What else is chosen by
        held-out examples comes afterwards: `fit_scaling`, `fit_rejection`,
        `fit_conformal`.

        Args:
            x: inputs that were not trained on, as an array, or a dataset of (inputs,
                labels) or of (inputs, labels, sample weights), as for `evaluate`.
            y: labels or targets, where `x` is an array.
            moments: training inputs, or a few of them, as for `estimate_batch_norm`,
                whose moments all draws then have. Of a model with BatchNorm whose draws
                have moments of their own; `None` of others.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 or "auto" to print each width with its likelihood.
            sample_weight: weights, finite and >= 0, where `x` is an array.

        Returns:
            The predictor.

        Raises:
            ValueError: for a model that has no posterior of all weights with a
                covariance, or the network at its mean; for `moments` that are due, or
                that nothing needs; for a predictor with a scaling, a rejection, a
                conformal rule or a scorer; as `evaluate`, or if there is no likelihood.
                The predictor is as before then.

        Example:

        >>> images, scores = keras.Input((8, 8, 1)), keras.layers.Dense(10)
        >>> network = keras.Model(images, scores(keras.layers.Flatten()(images)))
        >>> posterior = tfhyper.Variational(network, num_examples=60_000)
        >>> predictor = tfhyper.PosteriorPredictor(posterior, num_draws=4)
        >>> predictor = predictor.fit_width(x_train, y_train, verbose=0)
        >>> predictor.model.temperature > 0
        True

        Reference:
            Wenzel et al.: How good is the Bayes posterior in deep neural networks
            really?, ICML 2020, of cold posteriors.
        """
        check_reading(batch_size, verbose)
        model = self.model
        if not isinstance(model, WeightPosterior) or self.deterministic:
            raise ValueError(
                "`fit_width` needs draws of a posterior of all weights, such as a "
                f"`tfhyper.Variational`. Received: model={model.name!r}"
                + ", deterministic=True"
                * self.deterministic
            )
        if self.source.needs_moments != (moments is not None):
            raise ValueError(
                "`moments` must be training inputs for draws that have moments of "
                "BatchNorm of their own, and None for others. Received: "
                f"moments={'None' if moments is None else type(moments).__name__}"
            )
        rules = {
            "scaling": self.scaling,  # of several outputs a dict
            "rejection": self.rejection,
            "conformal": self.conformal,
            "scorer": self.scorer,
        }
        if given := [
            name
            for name, rule in rules.items()
            if any(x is not None for x in keras.tree.flatten(rule))
        ]:
            raise ValueError(
                "The width must be chosen before what is chosen for the predictions of "
                f"one width. Received: a predictor with {' and '.join(given)}"
            )
        self._labelled(x, y, sample_weight, batch_size, 0)
        sources: dict[float, DrawnEnsemble] = {}

        def score(factor: float) -> float:
            source = self.source.around(model.widened(factor))
            if moments is not None:
                source.estimate_batch_norm(moments, None, 0)
            trial = copy.copy(self)
            trial.source = source
            scores = trial.evaluate(x, y, batch_size, 0, sample_weight)
            sources[factor] = source
            found = width.summed_nll(scores)
            if verbose:
                print(f"width: covariance x {factor:g}, held-out NLL {found:.4f}")
            return found

        tried = width.best_factor(score)
        best = min(tried, key=lambda factor: tried[factor])
        self.source = sources[best]
        return self

    def parameters(self) -> dict[str, int]:
        """Returns how many parameters there are: trained, of a draw, averaged over.

        Moving averages of BatchNorm included. `"averaged"` counts what the N draws
        come to as plain networks: N networks with `"branching"`, in the residual
        blocks N times as many with `"parallelizing"`, N^2 with `"widening"`.
        """
        return self.source.parameters()

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Prints what the model gives, the averaging form, and numbers of parameters.

        Args:
            print_fn: takes the text.

        Raises:
            TypeError: if it is no function.
        """
        check_function("print_fn", print_fn)
        counts = self.parameters()
        form = f"averaged, x{self.num_draws} {self.averaging}"
        noise = sum(x.size for x in self.draws[0].noise.values())
        told = self.outputs if isinstance(self.outputs, dict) else {"": self.outputs}
        rows = [
            *((f"gives {name}".strip(), what or "?") for name, what in told.items()),
            ("", ""),
            (f"Predictor of '{self.model.name}'", "Parameters"),
            ("trained model", f"{counts['trained']:,}"),
            ("plain network of one draw", f"{counts['draw']:,}"),
            (form, f"{counts['averaged']:,}"),
            ("", "Noise"),
            ("all draws", f"{noise * len(self.draws):,}"),
        ]
        print_fn(align(rows))
