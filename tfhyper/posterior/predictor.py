"""Averaging predictions over draws of a network."""

import copy
from typing import Any

import keras

from tfhyper import keras_graph
from tfhyper.posterior import archive
from tfhyper.posterior.base_predictor import Averaged
from tfhyper.posterior.drawn_ensemble import Ensemble
from tfhyper.posterior.tasks.outputs import make_outputs
from tfhyper.posterior.tasks.rejection import Rejection

_KIND = "PosteriorPredictor"
# What a file holds besides the model and the draws: arguments, by their names.
_SETTINGS = (
    "num_draws",
    "averaging",
    "batch_norm",
    "seed",
    "outputs",
    "link",
    "noise_variance",
    "deterministic",
    "batch_size",
    "dropout",
    "rejection",
)


class PosteriorPredictor(Ensemble, Averaged):
    """An ensemble of draws of one trained network.

    A draw fixes all that is random in the network. Its prediction is that of a
    plain network with the draw's kernels, and the ensemble's is their mean,

        p(y | x) = 1/N sum_n p(y | x, w_n),    w_n drawn from the posterior

    (Ukai et al., 2019, eq. 1 and "xN branching" of section 3.4).

    BatchNorm's moving averages belong to no draw: they mix the statistics of
    all the kernels that training went through. With `batch_norm="reestimate"`,
    `calibrate` sends training inputs through each draw, as in training, and
    keeps the exact moments (section 3.5). Without it, a draw of a generated
    network predicts badly. With `batch_norm="minibatch"` the moments of a draw
    are those of one random mini-batch of `batch_size` training inputs: Monte
    Carlo Batch Normalization (Teye et al., 2018), which makes a posterior of
    any trained network with BatchNorm. It goes together with other random
    layers, and so does dropout that is on in prediction (`dropout="sample"`), with
    masks that are fixed for each draw and example (Gal and Ghahramani, 2016).

    Draws can also be averaged inside of one network, in which BatchNorm's affine
    parameters are repeated (section 3.4 and figure 4): the paper pairs
    `"branching"` with the strategy all-in-one, `"parallelizing"` with block-wise and
    `"widening"` with layer-wise; all forms take all networks whose layers draw.

    Args:
        model: a trained functional or Sequential Keras model, whose output is
            (batch, classes). The predictor takes its weights as they are now:
            after more training, make another, or call `calibrate` again.
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
        seed: int in 0 <= seed < 2**31, from which the draws are made.
        outputs: what the model gives: of a classifier `"logits"` or
            `"probabilities"`, `None` to take the latter if its last layer ends in
            a softmax; of a regression `"mean"`, (batch, 1), or
            `"mean_and_variance"`, (batch, 2) or two outputs (batch, 1).
        link: how logits l become probabilities: `"softmax"`, or
            `"normalized_softplus"`, softplus(l_c) / sum_k softplus(l_k).
        deterministic: bool, True for the network at the posterior's mean, which
            is one draw: no averaging, and an epistemic uncertainty of 0. Layers
            with a Gaussian posterior have a mean kernel; generated ones do not.
        batch_size: int > 1, of the mini-batches of `batch_norm="minibatch"`:
            that of training. The smaller, the wider the posterior.
        noise_variance: float >= 0, variance of the targets around the mean,
            1 / tau, for `outputs="mean"`. `fit_noise` chooses it.
        dropout: `"off"`: dropout drops nothing, as in Keras' `predict`; or
            `"sample"`: it draws, wherever its rate is above 0, but with
            `deterministic`. `keras.layers.Dropout`, `SpatialDropout1D` ... `3D` and
            `tfhyper.layers.Dropout` have masks for each example, as
            `tfhyper.layers.MCDropout`; `GaussianDropout`, `AlphaDropout`, the dropout
            of attention and of recurrent layers has one noise a draw, the same for all
            examples. `None` for `"off"`, if no layer is called with `training=True`.
        rejection: `tfhyper.Rejection`, by which predictions are *unknown*, or `None`.
            `fit_rejection` chooses it.

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
    >>> predictor = predictor.calibrate(x_train, verbose=0)
    >>> prediction = predictor.predict(x_test)
    >>> prediction.mean.shape, prediction.epistemic.shape
    ((2000, 10), (2000,))
    """

    _settings = _SETTINGS

    def __init__(
        self,
        model: keras.Model,
        num_draws: int | None = None,
        averaging: str = "branching",
        batch_norm: str = "reestimate",
        seed: int = 0,
        outputs: str | None = None,
        link: str = "softmax",
        deterministic: bool = False,
        batch_size: int | None = None,
        noise_variance: float = 0.0,
        dropout: str | None = None,
        rejection: Rejection | None = None,
    ):
        super().__init__(
            model,
            num_draws,
            averaging,
            batch_norm,
            seed,
            deterministic,
            batch_size,
            dropout,
        )
        self._outputs = make_outputs(model, outputs, link, noise_variance)
        self.rejection = rejection

    def __getstate__(self) -> dict[str, Any]:
        # Locks and compiled functions stay: they are made anew.
        keras_graph.check_saves(self.model)  # Keras pickles a model as it saves it
        return {"model": self.model, "settings": self.settings, "draws": self.draws}

    def __deepcopy__(self, memo: dict) -> "PosteriorPredictor":
        copied = type(self)(keras_graph.duplicate(self.model), **self.settings)
        copied.draws = copy.deepcopy(self.draws, memo)
        return copied

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["model"], **state["settings"])
        self.draws = state["draws"]

    def save(self, path: str, overwrite: bool = False) -> None:
        """Writes the model, the draws and the settings into one file.

        The file is written whole or not at all.

        Args:
            path: where to, best ending in `.tfhyper`.
            overwrite: bool, replace a file that is there.

        Raises:
            FileExistsError: if there is a file and `overwrite` is not set.
            ValueError: if the model was trained since its weights were taken, or has a
                layer whose config does not say all of it: a function that is not
                registered, a `Lambda`.
        """
        self._check_weights()
        archive.save(path, _KIND, [self.model], self.draws, self.settings, overwrite)

    @classmethod
    def load(cls, path: str) -> "PosteriorPredictor":
        """Returns the predictor that `save` wrote: same draws, same predictions.

        Raises:
            FileNotFoundError: if there is no file.
            ValueError: if it is torn, or not one of `save`.
        """
        (model,), draws, settings = archive.load(path, _KIND)
        try:
            predictor = cls(model, **settings)
            for draw in draws:
                predictor._point.check_values(draw)
        except Exception as error:  # Each backend has its own, for other shapes.
            raise archive.broken(path, _KIND, error) from error
        predictor.draws = draws
        return predictor
