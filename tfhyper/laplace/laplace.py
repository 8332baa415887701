"""Laplace approximation of the last layer of a trained network."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import keras
import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import (
    Verbose,
    check_bool,
    check_choice,
    check_instance,
    check_number,
    check_numbers,
    check_positive_integer,
    check_reading,
)
from tfhyper.laplace.curvature import HESSIANS, LARGEST, Full, Hessian, form_of
from tfhyper.laplace.drawn_last_layers import (
    PREDICTIVES,
    DrawnLastLayers,
    Predictive,
    plain_ensemble,
)
from tfhyper.laplace.fitted_network import FittedNetwork, check_weight
from tfhyper.laplace.last_layers import LastLayers
from tfhyper.laplace.likelihoods import LIKELIHOODS, NAMES, Name
from tfhyper.laplace.predictor import LaplacePredictor
from tfhyper.laplace.prior_search import best_of_evidence
from tfhyper.layers.seeds import check_seed
from tfhyper.posterior import PosteriorPredictor
from tfhyper.posterior.draw_settings import DrawSettings
from tfhyper.posterior.drawn_ensemble import DrawnEnsemble
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.running.batches import Batches
from tfhyper.posterior.running.loop import progress
from tfhyper.posterior.tasks.registry import OPTIONS, make_task
from tfhyper.posterior.tasks.task import Task
from tfhyper.tensor_types import Structure

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on

PriorMethod: TypeAlias = Literal["marginal_likelihood", "validation"]
PRIOR_METHODS: tuple[PriorMethod, ...] = get_args(PriorMethod)
_GRID = tuple(np.logspace(-4, 4, 33).tolist())
# Draws of the last layer of one network.
_DRAWS = 32


class Laplace:
    """A Gaussian posterior around the last layer of a trained network, after training.

    The features before the last layer stay as they are. Around its trained weights w*,
    kernel and bias, the posterior is

        q(w) = N(w*, (H / T + diag(delta))^-1)

    with H the generalised Gauss-Newton matrix of the negative log-likelihood of the
    training data, exact in the features, T the temperature and delta the precision of
    the prior N(0, 1 / delta) (Daxberger et al., 2021). Of a regression with noise
    variance s^2, H is divided by s^2. One pass over the data makes it, in float64 and
    on any backend. To average over q, see `predictor`.

    The network ends in a `keras.layers.Dense`, whose activation, if any, is a softmax
    or a sigmoid, inside of it or behind it. Of sequences and images with such a layer
    for each position, a position is an example. Of a random network give a
    `tfhyper.PosteriorPredictor`: each of its draws has features, and so a posterior of
    its last layer, of its own; `predictor` averages over all of them. The last layer
    may be generated (`HyperDense`), but not have a density (`BayesDense`, `MNFDense`,
    `Variational`), which would be a second posterior of the same weights. Of a
    `DeepEnsemble`, make one for each model. For a posterior of all layers there is
    laplace-torch; `tfhyper.Variational` learns one.

    Args:
        model: a trained functional or Sequential Keras model with one output, or a
            `PosteriorPredictor`, whose networks are separate (`"branching"`).
        likelihood: `"classification"`, of one class of several or of labels each by
            itself; or `"regression"`, of targets around a mean.
        hessian: `"full"`, all of H, (weights, weights): up to 8192 weights, or of a
            regression, where it is the same for each target, features; `"kron"`, a
            Kronecker product for the kernel and one for the bias, up to 8192 features;
            or `"diag"`, its diagonal, of any size. The matrices are decomposed: n rows
            take some n^3 operations and 64 n^2 bytes, minutes and 4 GiB at most, and
            `"full"` does so for each precision that validation tries.
        prior_precision: float > 0, delta, or two of them, of kernel and bias.
            `fit_prior_precision` chooses it.
        noise_variance: float > 0, s^2, in the square of the targets' unit, for
            `"regression"`; 1.0 if left out. `fit_prior_precision` chooses it.
        temperature: float > 0, T: below 1 the posterior is narrower.
        outputs: what the model gives, as for `PosteriorPredictor`; `None` for what its
            graph and loss say, and with a predictor.

    Attributes:
        likelihood: as given.
        hessian: as given.
        temperature: as given.
        num_networks: int, draws of the network that have a posterior each.

    Raises:
        TypeError: for a model whose graph is not known, or no model.
        ValueError: for an argument out of range; a last layer of another kind; a
            network that draws, without a predictor; a predictor of another form, or one
            whose `estimate_batch_norm` is due; for a `hessian` that is too large.

    Example:

    >>> laplace = tfhyper.Laplace(digits).fit(x_train, y_train, verbose=0)
    >>> laplace = laplace.fit_prior_precision()
    >>> predictor = laplace.predictor(num_draws=16)
    >>> predictor.predict(x_test).epistemic.shape
    (2000,)

    Reference:
        Daxberger, Kristiadi, Immer, Eschenhagen, Bauer, Hennig: Laplace Redux -
        effortless Bayesian deep learning, NeurIPS 2021. MacKay: Bayesian
        interpolation, Neural Computation 4, 1992.
    """

    def __init__(
        self,
        model: keras.Model | PosteriorPredictor,
        likelihood: Name = "classification",
        hessian: Hessian = "kron",
        *,
        prior_precision: float | Sequence[float] = 1.0,
        noise_variance: float | None = None,
        temperature: float = 1.0,
        outputs: str | None = None,
    ):
        self.likelihood = check_choice("likelihood", likelihood, NAMES)
        self.hessian = check_choice("hessian", hessian, HESSIANS)
        self.temperature = check_number("temperature", temperature, positive=True)
        self.prior_precision = prior_precision
        self._noise_variance = 1.0
        if noise_variance is not None:
            self.noise_variance = noise_variance
        ensemble, task = _networks_and_task(model, likelihood, outputs)
        self._likelihood = LIKELIHOODS[task.name]
        self._layers = LastLayers(ensemble, task, self._likelihood)
        self._form = form_of(self.hessian, not self._likelihood.decides)
        self._check_size()
        self._fitted: list[FittedNetwork] = []

    @property
    def prior_precision(self) -> float | list[float]:
        """The precision of the prior: see the argument. It can be set."""
        return self._prior_precision

    @prior_precision.setter
    def prior_precision(self, value: float | Sequence[float]) -> None:
        self._prior_precision = _check_prior("prior_precision", value)

    @property
    def noise_variance(self) -> float:
        """The variance of targets around the mean: see the argument. It can be set."""
        return self._noise_variance

    @noise_variance.setter
    def noise_variance(self, value: float) -> None:
        if self.likelihood != "regression":
            raise ValueError(
                '`noise_variance` is for `likelihood="regression"`. Received: '
                f"noise_variance={value!r}, likelihood={self.likelihood!r}"
            )
        self._noise_variance = check_number("noise_variance", value, positive=True)

    @property
    def num_networks(self) -> int:
        """How many draws of the network have a posterior each."""
        return len(self._layers.draws)

    def fit(
        self,
        x: Structure,
        y: ArrayLike | None = None,
        batch_size: int = 128,
        verbose: Verbose = "auto",
        sample_weight: ArrayLike | None = None,
    ) -> "Self":
        """Sums H up over the training data; what was there before is replaced.

        Args:
            x: training inputs as an array, or a dataset of (inputs, labels) or of
                (inputs, labels, sample weights), that all of the network was trained
                on, without augmentation. It is read once for each network.
            y: labels or targets, where `x` is an array, as for
                `PosteriorPredictor.evaluate`.
            batch_size: int > 0, for arrays. The result does not depend on it.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.
            sample_weight: weights, finite and >= 0, (examples,) or one for each label,
                where `x` is an array: w counts as w examples. All targets of an
                example have the same.

        Returns:
            This.

        Raises:
            ValueError: for no data; labels that are missing, out of range or all of
                one class; what is not finite; and if the model was trained since.
        """
        layers = self._layers
        data = layers.data(x, y, batch_size, verbose, sample_weight)
        layers.check()
        size = layers.rows, layers.outputs, layers.use_bias
        found = [
            FittedNetwork(self._form(*size), mean, self._likelihood)
            for mean in layers.means()
        ]
        pairs = zip(layers.draws, found, strict=True)
        for draw, network in progress("fit", pairs, len(found), verbose, "network"):
            for rows in layers.read(data, draw):
                network.add(*rows)
            network.check()
        self._fitted = found
        return self

    def log_marginal_likelihood(self) -> float:
        """Returns the Laplace approximation of the log evidence, in nats.

            log p(D) = log p(D | w*) / T - 1/2 [log det(H / T + diag(delta))
                       - log det diag(delta) + sum_i delta_i w*_i^2]

        of all training data, with the present prior precision and noise variance; the
        mean over the networks. It compares priors, and networks that were trained on
        the same data (Daxberger et al., 2021, equation 4).

        Raises:
            ValueError: before `fit`.
        """
        self._check_fitted()
        return self._evidence(self._prior_precision, self._noise_variance)

    def fit_prior_precision(
        self,
        method: PriorMethod = "marginal_likelihood",
        x: Structure | None = None,
        y: ArrayLike | None = None,
        *,
        grid: Sequence[float] | None = None,
        fit_noise: bool | None = None,
        batch_size: int = 128,
        verbose: Verbose = "auto",
        sample_weight: ArrayLike | None = None,
    ) -> "Self":
        """Chooses `prior_precision`, and of a regression `noise_variance` with it.

        By `"marginal_likelihood"` those of the largest `log_marginal_likelihood`, on
        the training data, found by SciPy between 1e-6 and 1e8: one precision, or two if
        there are two now. By `"validation"` the one precision of a grid whose
        predictions, in closed form and averaged over the networks, have the least
        negative log-likelihood on held-out data.

        Args:
            method: which of these.
            x: held-out inputs for `"validation"`, as for `fit`.
            y: their labels or targets, where `x` is an array.
            grid: precisions > 0 for `"validation"`; `None` for 33 from 1e-4 to 1e4.
            fit_noise: bool, choose the noise variance too, which is 1e-6 at least.
                `None` for a regression by `"marginal_likelihood"`, for which alone it
                is.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.
            sample_weight: weights of the labels, as for `fit`.

        Returns:
            This.

        Raises:
            ValueError: before `fit`; for arguments out of range or of the other method;
                and as `fit` for held-out data, which may be of one class.

        Example:

        >>> laplace = tfhyper.Laplace(digits).fit(x_train, y_train, verbose=0)
        >>> before = laplace.log_marginal_likelihood()
        >>> laplace.fit_prior_precision().log_marginal_likelihood() >= before
        True
        """
        check_choice("method", method, PRIOR_METHODS)
        check_reading(batch_size, verbose)
        regression = self.likelihood == "regression"
        if fit_noise is None:
            fit_noise = regression and method == "marginal_likelihood"
        elif check_bool("fit_noise", fit_noise) and (
            not regression or method == "validation"
        ):
            raise ValueError(
                '`fit_noise` is for `likelihood="regression"` and '
                '`method="marginal_likelihood"`. Received: fit_noise=True, '
                f"likelihood={self.likelihood!r}, method={method!r}"
            )
        self._check_fitted()
        if method == "validation":
            if x is None:
                raise ValueError(
                    '`x` must be held-out inputs with `method="validation"`. '
                    "Received: x=None"
                )
            found = self._layers.data(x, y, batch_size, verbose, sample_weight)
            self._prior_precision = self._best_of_grid(found, grid, verbose)
            return self
        for name, value in {
            "x": x,
            "y": y,
            "grid": grid,
            "sample_weight": sample_weight,
        }.items():
            if value is not None:
                raise ValueError(
                    f'`{name}` is for `method="validation"`: the marginal likelihood '
                    f"is that of the training data. Received: {name} of type "
                    f"{type(value).__name__}"
                )
        self._prior_precision, self._noise_variance = best_of_evidence(
            self._evidence, self._prior_precision, self._noise_variance, fit_noise
        )
        return self

    def predictor(
        self,
        predictive: Predictive = "mc",
        num_draws: int | None = None,
        seed: int | None = 0,
    ) -> LaplacePredictor:
        """Returns a predictor that averages over the posterior as it is now.

        By `"mc"` over draws of the last layer's weights, whose features are made once.
        By `"closed_form"` in one pass:

            regression       mean f = phi w*, epistemic variance v = phi Sigma phi^T,
                             exactly; aleatoric the noise variance
            classification   softmax(f_c / sqrt(1 + pi v_c / 8)), or the sigmoid: the
                             probit approximation (MacKay, 1992)

        `prediction.total` of a classifier is the entropy of that. One network has no
        parts of it: they need draws, of `"mc"` or of a random network.

        Args:
            predictive: `"mc"` or `"closed_form"`.
            num_draws: int > 0, draws for `"mc"`, as many of each network; `None` for 32
                of one network, or one of each of several.
            seed: int in 0 <= seed < 2**31, from which draws are made, or `None` for a
                fresh one.

        Raises:
            ValueError: before `fit`; for an argument out of range; for a precision that
                is too small for the features; and if the model was trained since.
        """
        check_choice("predictive", predictive, PREDICTIVES)
        seed = check_seed(seed)
        self._check_fitted()
        layers = self._layers
        layers.check()
        count = self._count(predictive, num_draws)
        settings = dataclasses.replace(
            layers.ensemble.settings, num_draws=count * self.num_networks, seed=seed
        )
        source = DrawnLastLayers(
            layers.ensemble.model,
            settings,
            layers.task.name,
            predictive,
            self._form.covariance,
        )
        names, draws = source.point.last_names, []
        for i, draw in enumerate(layers.draws):
            for arrays in self._last_layers(i, predictive, count, seed):
                own = dict(zip(names, arrays, strict=True))
                draws.append(Draw({**draw.noise, **own}, draw.moments))
        source.set_draws(draws)
        options = {name: layers.task.option(name) for name in OPTIONS}
        if not self._likelihood.decides:
            options["noise_variance"] = self._noise_variance
        return LaplacePredictor.of_source(source, layers.task.name, options)

    def _last_layers(
        self, index: int, predictive: Predictive, count: int, seed: int
    ) -> Iterator[list[np.ndarray]]:
        """Yields what draws of a network hold of the last layer, float32."""
        network = self._fitted[index]
        scale = self._scale(self._noise_variance)
        gaussian = network.curvature.posterior(scale, self._rows(self._prior_precision))
        for i in range(count):
            mean, others = network.mean, []
            if predictive == "mc":
                generator = np.random.default_rng((seed, index, i))
                mean = mean + gaussian.deviation(generator)
            else:
                others = [gaussian.projection, gaussian.scales]
            arrays = [*self._layers.split(mean), *others]
            yield [x.astype(np.float32) for x in arrays if x is not None]

    def _count(self, predictive: Predictive, num_draws: int | None) -> int:
        """Returns how many draws there are of the last layer of each network."""
        if num_draws is None:
            alone = predictive == "mc" and self.num_networks == 1
            return _DRAWS if alone else 1
        num_draws = check_positive_integer("num_draws", num_draws)
        if predictive != "mc":
            raise ValueError(
                '`num_draws` is for `predictive="mc"`. '
                f"Received: num_draws={num_draws}, predictive={predictive!r}"
            )
        if num_draws % self.num_networks:
            raise ValueError(
                "`num_draws` must be a multiple of the number of networks, "
                f"{self.num_networks}. Received: num_draws={num_draws}"
            )
        return num_draws // self.num_networks

    def _check_size(self) -> None:
        rows, outputs = self._layers.rows, self._layers.outputs
        size = rows * outputs if self._form is Full else rows
        if self.hessian != "diag" and size > LARGEST:
            others = '"kron" or "diag"' if self._form is Full else '"diag"'
            raise ValueError(
                f"`hessian` must be {others} where its matrix would have more than "
                f"{LARGEST} rows. Received: hessian={self.hessian!r}, a last layer of "
                f"{rows} x {outputs} weights, {size} rows"
            )

    def _check_fitted(self) -> None:
        if not self._fitted:
            raise ValueError(
                "`fit` must be called before, with the training data. Received: a "
                "Laplace that was not fitted"
            )

    def _scale(self, noise: float) -> float:
        """Returns what H is multiplied by, at a noise variance."""
        return 1.0 / (self.temperature * (1.0 if self._likelihood.decides else noise))

    def _rows(self, prior: float | list[float]) -> np.ndarray:
        """Returns the prior precision of each row of the weights."""
        return self._layers.prior(*np.broadcast_to(prior, (2,)).tolist())

    def _evidence(self, prior: float | list[float], noise: float) -> float:
        """Returns the log marginal likelihood, the mean over the networks."""
        scale, rows = self._scale(noise), self._rows(prior)
        found = [x.log_evidence(scale, rows, noise) for x in self._fitted]
        return float(np.mean(found))

    def _best_of_grid(
        self, data: Batches, grid: Sequence[float] | None, verbose: Verbose
    ) -> float:
        """Returns the precision whose predictions are likeliest on held-out data."""
        values = check_numbers("grid", _GRID if grid is None else grid)
        if values.ndim != 1 or not values.size or not (values > 0).all():
            raise ValueError(
                f"`grid` must be a sequence of precisions > 0. Received: grid={grid!r}"
            )
        layers = self._layers
        layers.check()
        read = [list(layers.read(data, draw)) for draw in layers.draws]
        rows = [list(map(np.concatenate, zip(*one, strict=True))) for one in read]
        _, labels, weights = rows[0]
        check_weight(float(weights.sum()))
        scale, best = self._scale(self._noise_variance), (math.inf, 1.0)
        for value in progress("fit", values, len(values), verbose, "precision"):
            logs = []
            for network, (features, *_) in zip(self._fitted, rows, strict=True):
                gaussian = network.curvature.posterior(scale, self._rows(float(value)))
                means, variances = features @ network.mean, gaussian.variance(features)
                logs.append(
                    self._likelihood.predictive(
                        means, variances, labels, self._noise_variance
                    )
                )
            mixed = np.logaddexp.reduce(logs, axis=0) - math.log(len(logs))
            surprise = -float((mixed.reshape(len(labels), -1) * weights).sum())
            best = min(best, (surprise, float(value)))
        return best[1]


def _check_prior(name: str, value: Any) -> float | list[float]:
    """Returns one precision, or those of kernel and bias."""
    if not isinstance(value, list | tuple | np.ndarray) or np.ndim(value) == 0:
        return check_number(name, value, positive=True)
    found = [check_number(name, x, positive=True) for x in value]
    if len(found) != 2:
        raise ValueError(
            f"`{name}` must be a number, or two of them, for kernel and bias. "
            f"Received: {name}={value!r}"
        )
    return found


def _networks_and_task(
    model: Any, likelihood: Name, outputs: str | None
) -> tuple[DrawnEnsemble, Task]:
    """Returns the networks, and what their outputs mean."""
    options: dict[str, Any] = {}
    if isinstance(model, PosteriorPredictor):
        _check_outputs(model.task, likelihood)
        if outputs is not None:
            raise ValueError(
                "`outputs` must be None with a PosteriorPredictor, which says it. "
                f"Received: outputs={outputs!r}"
            )
        source, given = model.source, model.task
        if source.settings.inside:
            raise ValueError(
                '`model` must be a predictor with `averaging="branching"`, whose draws '
                "are networks each. Received: averaging="
                f"{source.settings.averaging!r}"
            )
        plain_ensemble(source.model, source.settings)
        model, outputs = source.model, given.name
        options["ignore_class"] = given.option("ignore_class")
        link = given.option("link")
        if link != "softmax":
            raise ValueError(
                '`model` must be a predictor with `link="softmax"`, whose curvature is '
                f"known. Received: link={link!r}"
            )
    else:
        rule = "a Keras model or a PosteriorPredictor"
        check_instance("model", model, keras.Model, rule)
        source = plain_ensemble(model, DrawSettings(batch_norm="moving_average"))
        if source.point.is_random:
            raise ValueError(
                "`model` must be a PosteriorPredictor of a network that draws: it says "
                "how many draws there are, and has their BatchNorm moments. Received: "
                f"model={model.name!r}, in which "
                f"'{source.point.random_layers[0].name}' draws"
            )
        if outputs is not None:
            check_choice("outputs", outputs, tuple(LIKELIHOODS))
        elif likelihood == "regression":
            outputs = "mean"
    task = make_task(model, outputs, **options)
    _check_outputs(task, likelihood)
    return source, task


def _check_outputs(task: Task, likelihood: Name) -> None:
    """Raises ValueError for outputs that have another likelihood, or none here."""
    known = LIKELIHOODS.get(task.name) if isinstance(task.name, str) else None
    if known is None or known.name != likelihood:
        raise ValueError(
            '`likelihood` must go with what the model gives: "classification" with '
            'logits or probabilities of classes or labels, "regression" with "mean". '
            f"Received: likelihood={likelihood!r}, a model with outputs={task.name!r}"
        )
