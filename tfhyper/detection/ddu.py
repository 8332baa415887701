"""Deep deterministic uncertainty: density of features, and entropy of the softmax."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NoReturn

import keras
from numpy.typing import ArrayLike

from tfhyper.checks import Verbose
from tfhyper.detection.feature_density import FeatureDensity
from tfhyper.posterior import Prediction
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.tasks.rejection import FOREIGN, Foreign, Uncertainty
from tfhyper.tensor_types import Structure

if TYPE_CHECKING:
    from typing_extensions import Self  # `typing` has it from Python 3.11 on


@dataclasses.dataclass(frozen=True, repr=False)
class DDUPrediction(Prediction):
    """A prediction whose epistemic uncertainty is minus the log density of features.

    What `DDU.predict` gives: a `tfhyper.Prediction` in all but this. `aleatoric` is
    the entropy of the softmax, in nats (of draws the mean of theirs), and `total` that
    of the mean prediction, as there; `epistemic` is minus the log density of the
    features, a number of any sign. They do not add up: a density of features is no
    part of the entropy of a label. `variance` and `members` are those of the
    predictor.

    Attributes:
        epistemic: float64 (batch,), minus the log density; the same as `foreign`.

    Example:

    >>> ddu = tfhyper.detection.DDU().fit(predictor, x_train, y_train)
    >>> prediction = ddu.predict(x_test)
    >>> isinstance(prediction, tfhyper.detection.DDUPrediction)
    True
    >>> prediction.epistemic.shape, prediction.aleatoric.shape
    ((2000,), (2000,))
    """

    def reject(
        self, threshold: float, score: Uncertainty | Foreign = "epistemic"
    ) -> Self:
        """Returns the same prediction, unknown where it is more uncertain than that.

        Args:
            threshold: float; of the density, `"epistemic"`, any finite number, such
                as `DDU.threshold` gives; else as of `Prediction.reject`.
            score: as for `uncertainty`.

        Raises:
            ValueError: for a threshold out of range, or another score.
        """
        if isinstance(score, str) and score == "epistemic":
            score = FOREIGN
        return super().reject(threshold, score)

    def plot(self, *arguments: Any, **options: Any) -> NoReturn:
        """Raises ValueError: a density has no place in a bar of entropies.

        Raises:
            ValueError: always. `predictor.predict(x).plot()` draws the rest.
        """
        raise ValueError(
            "`plot` draws parts of an entropy, and a density of features is none: plot "
            "the predictor's own prediction. Received: a DDUPrediction"
        )


class DDU:
    """Deep deterministic uncertainty (Mukhoti et al., 2023), of any classifier.

    One network that is trained once: what it does not know is where its features are
    rare, and what the data leave open is the entropy of its softmax,

        epistemic = -log q(f),    aleatoric = H[p],

    with q as of `FeatureDensity`. The paper trains with residual connections and
    spectral normalization, so that features keep inputs apart: without them the
    density says less. Of several draws, both are means over the draws, as `Scorer`
    says.

    Args:
        layer: as of `FeatureDensity`.
        shrinkage: as of `FeatureDensity`.

    Attributes:
        scorer: the `FeatureDensity`, which can be saved and loaded, and given to a
            predictor's `fit_rejection`.

    Raises:
        ValueError: for an argument out of range.
        TypeError: for a `layer` that is no text.

    Example:

    >>> ddu = tfhyper.detection.DDU().fit(predictor, x_train, y_train)
    >>> prediction = ddu.predict(x_test).reject(ddu.threshold(x_val))
    >>> prediction.label.shape
    (2000,)
    >>> bool((prediction.epistemic == ddu.scorer.score(x_test)).all())
    True

    Reference:
        Mukhoti, Kirsch, van Amersfoort, Torr, Gal: Deep deterministic uncertainty: a
        new simple baseline, CVPR 2023, section 3 and algorithm 1.
    """

    def __init__(self, layer: str | None = None, shrinkage: float | None = None):
        self.scorer = FeatureDensity(layer, None, shrinkage)

    def fit(
        self,
        predictor: BasePredictor | keras.Model,
        x_train: Structure,
        y_train: ArrayLike | None = None,
        batch_size: int = 128,
        verbose: Verbose = "auto",
    ) -> Self:
        """Fits the density to training inputs; arguments and errors as `Scorer.fit`.

        Args:
            predictor: a predictor, or a Keras model whose layers do not draw.
            x_train: training inputs as an array, or a dataset of (inputs, labels).
            y_train: labels, where `x_train` is an array.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.

        Returns:
            This object.
        """
        self.scorer.fit(predictor, x_train, y_train, batch_size, verbose)
        return self

    def threshold(
        self,
        x_val: Structure,
        false_positive_rate: float = 0.05,
        batch_size: int = 128,
        verbose: Verbose = "auto",
    ) -> float:
        """Returns the epistemic uncertainty above which an input is taken for foreign.

        Args:
            x_val: known inputs that trained nothing, as for `predict`.
            false_positive_rate: float in 0 <= rate < 1, of known inputs that are.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.

        Raises:
            ValueError: as `Scorer.threshold`.
        """
        return self.scorer.threshold(x_val, false_positive_rate, batch_size, verbose)

    def predict(
        self, x: Structure, batch_size: int = 128, verbose: Verbose = "auto"
    ) -> DDUPrediction:
        """Returns the prediction and both uncertainties.

        A `rejection` of the predictor is not taken over: `reject` gives one.

        Args:
            x: inputs, as for a predictor's `predict`, read twice.
            batch_size: int > 0, for arrays.
            verbose: 0 for silence, 1 for a progress bar, "auto" for one if it takes
                longer than some seconds and a terminal or a notebook shows it.

        Raises:
            ValueError: as `Scorer.score`.
        """
        predictor = self.scorer.fitted()
        prediction = predictor.predict(x, batch_size, None, verbose)
        density = self.scorer.score(x, batch_size, verbose)
        held = {
            field.name: getattr(prediction, field.name)
            for field in dataclasses.fields(prediction)
        }
        held.update(epistemic=density, foreign=density, rejection=None)
        return DDUPrediction(**held)
