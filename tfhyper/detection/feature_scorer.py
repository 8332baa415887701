"""What scores of the last features of each draw share."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.checks import Verbose, check_text, naming
from tfhyper.detection.networks import (
    Features,
    Head,
    check_optional,
    check_weights,
    classifier_of,
    features_of,
    key_of,
)
from tfhyper.detection.scorer import Scorer
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.running import loop
from tfhyper.posterior.running.batches import Batch, Batches, Part
from tfhyper.posterior.running.weight_cache import draws_key
from tfhyper.posterior.tasks.classification import Classification
from tfhyper.posterior.tasks.foreign_scores import Arrays, GraphOfDraws, ScoreGraph
from tfhyper.tensor_types import Tensor

# Names of the last layer's arrays, beside what was fitted.
_KERNEL, _BIAS = "head.kernel", "head.bias"


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the network of a draw makes of inputs.

    Args:
        features: float64 (examples, size), finite; of a file, a tensor.
        given_labels: int64 (examples,), each in [0, classes); `None` without.
        last: the draw's last layer, where the scorer needs it.
    """

    features: Any
    given_labels: np.ndarray | None = None
    last: Head | None = None

    @property
    def labels(self) -> np.ndarray:
        """The labels, of a scorer that needs them."""
        if self.given_labels is None:
            raise ValueError("`labels` are for scorers with `needs_labels`.")
        return self.given_labels

    @property
    def head(self) -> Head:
        """The last layer, of a scorer that needs it."""
        if self.last is None:
            raise ValueError("`head` is for scorers with `needs_head`.")
        return self.last


class FeatureScorer(Scorer):
    """Base class of scores of the last features of each draw.

    A subclass says what it takes of the features of a draw, and how it scores others
    by that; here the draws are gone through, and their scores averaged.

    Attributes:
        needs_head: whether it makes logits of the features, by the last layer.
    """

    needs_training_data: ClassVar[bool] = True
    needs_head: ClassVar[bool] = False
    # Distances multiply the roundings of features that hardly differ.
    rounding: ClassVar[float] = 1e-4

    # Arguments that subclasses have, those with a `layer` too.
    layer: str | None = None
    num_draws: int | None = None

    _fitted: list[Arrays] | None = None
    _key: list[int] | None = None
    _networks: Features | None = None
    _heads: list[Head] | None = None

    def _check_arguments(self) -> None:
        """Raises an error unless `layer` and `num_draws` are what they should be."""
        if self.layer is not None:
            check_text("layer", self.layer)
        self.num_draws = check_optional("num_draws", self.num_draws)

    @abc.abstractmethod
    def fit_draw(self, seen: Seen) -> Arrays:
        """Returns what the score of a draw needs, from training inputs.

        Args:
            seen: what the draw's network makes of them.

        Raises:
            ValueError: for features or labels of which it cannot be made.
        """

    @abc.abstractmethod
    def score_draw(self, seen: Seen, fitted: Any, xp: Any = np) -> Any:
        """Returns scores (examples,) of what a draw's network makes of inputs.

        Args:
            seen: that, without labels.
            fitted: what `fit_draw` gave for the draw.
            xp: `numpy`, or `keras.ops` where both are tensors.
        """

    def graph(self) -> ScoreGraph:
        """Returns the scorer in operations on tensors, see the base class."""
        self.check_current()
        arrays = []
        for _, fitted, head in self._draws():
            of_head = {} if head is None else {_KERNEL: head.kernel, _BIAS: head.bias}
            arrays.append({**fitted, **of_head})

        def of_draw(features: Tensor, arrays: dict[str, Tensor]) -> Tensor:
            head = Head(arrays[_KERNEL], arrays[_BIAS]) if self.needs_head else None
            return self.score_draw(Seen(features, last=head), arrays, ops)

        return GraphOfDraws(
            arrays, lambda point: features_of(point, self.layer), of_draw
        )

    @abc.abstractmethod
    def shapes(
        self, size: int, classes: int, fitted: Mapping[str, np.ndarray]
    ) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of what `fit_draw` gives, by name.

        Args:
            size: how many features there are.
            classes: how many classes.
            fitted: the arrays, for the sizes of axes that may be any.
        """

    def _fit(
        self,
        predictor: BasePredictor,
        data: Batches | None,
        y_train: ArrayLike | None,
        verbose: Verbose,
    ) -> None:
        """Fits each draw to its features."""
        if data is None:
            raise ValueError("`x_train` must hold training inputs.")
        task = classifier_of(predictor)
        networks = Features(predictor, self.layer, self.num_draws)
        labels = self._given_labels(task, data, y_train)
        fitted, heads = [], []
        found = loop.progress("fit", networks.of_all(data), len(networks), verbose)
        for draw, features, brought in found:
            if self.needs_labels and labels is None:
                labels = self._checked_labels(task, brought)
            kept, of_kept = features, labels
            if labels is not None and task.ignore_class is not None:
                counts = labels != task.ignore_class
                kept, of_kept = features[counts], labels[counts]
            head = None
            if self.needs_head:
                head = draw.head()
                draw.check_head(head, next(iter(data)), task)
                heads.append(head)
            fitted.append(self.fit_draw(Seen(kept, of_kept, head)))
        self._fitted, self._networks, self._heads = fitted, networks, heads or None
        self._key = key_of(predictor)

    def _given_labels(
        self, task: Classification, data: Batches, y_train: ArrayLike | None
    ) -> np.ndarray | None:
        """Returns the labels of arrays, checked; `None` for those of a dataset."""
        if y_train is not None and not data.fixed:
            raise ValueError(
                "`y_train` must be left out where `x_train` is a dataset, which brings "
                f"its labels. Received: y_train of type {type(y_train).__name__}"
            )
        if not self.needs_labels or not data.fixed:
            return None
        return self._checked_labels(task, y_train, data.num_examples)

    def _checked_labels(
        self, task: Classification, labels: Any, count: int | None = None
    ) -> np.ndarray:
        if labels is None:
            raise ValueError(
                f"`y_train` must hold the labels of the training inputs: "
                f"{type(self).__name__} needs them. Received: y_train=None"
            )
        with naming("y_train", "a label for each training input"):
            found = task.check_labels(task.arrange_labels(labels))
        if count is not None and len(found) != count:
            raise ValueError(
                "`y_train` must hold a label for each training input. Received: "
                f"y_train of length {len(found)}, {count} inputs"
            )
        counted = found[found != task.ignore_class]
        if len(np.unique(counted)) < 2:
            raise ValueError(
                "`y_train` must hold labels of two classes or more. Received: "
                f"{len(found)} labels of {np.unique(counted).tolist()}"
            )
        return found

    def check_current(self) -> None:
        """Raises ValueError if it is not fitted, or its predictor has changed."""
        predictor = self.fitted()
        check_weights(predictor)
        if list(draws_key(predictor.source.draws)) != (self._key or [])[:2]:
            raise ValueError(
                "The scorer must be fitted to the predictor's present draws: call "
                f"`fit` again. Received: {self!r}, and draws that came after its `fit`"
            )

    def _draws(self) -> Iterator[tuple[Any, Arrays, Head | None]]:
        """Yields the network of each draw, what was fitted to it, and its head."""
        predictor = self.fitted()
        if self._networks is None:
            self._networks = Features(predictor, self.layer, self.num_draws)
        heads = self._heads
        if self.needs_head and heads is None:
            heads = self._heads = [draw.head() for draw in self._networks.draws()]
        for i, draw in enumerate(self._networks.draws()):
            yield draw, (self._fitted or [])[i], None if heads is None else heads[i]

    def _numbers(self, batch: Batch) -> int:
        """Returns how many features of a batch a draw gives."""
        predictor = self.fitted()
        if self._networks is None:
            self._networks = Features(predictor, self.layer, self.num_draws)
        return batch.count * max(self._networks.size)

    def _of_part(self, part: Part) -> np.ndarray:
        """Returns the mean of the draws' scores of some batches."""
        total, count = np.zeros(part.num_examples), 0
        for draw, fitted, head in self._draws():
            features, *_ = draw(part)
            total += self.score_draw(Seen(features, last=head), fitted)
            count += 1
        return total / count

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns name and arguments as JSON values, and the arrays of the fit."""
        about, arrays = super().state()
        fitted = self._fitted or []
        for i, found in enumerate(fitted):
            arrays.update({f"{i}.{name}": value for name, value in found.items()})
        return {**about, "key": self._key, "draws": len(fitted)}, arrays

    def take_state(
        self,
        predictor: BasePredictor,
        about: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        """Takes what `state` gave, for a predictor with the same draws."""
        if about.get("key") != key_of(predictor):
            raise ValueError(
                "it was fitted to another predictor, or to other draws or weights"
            )
        networks = Features(predictor, self.layer, self.num_draws)
        if about.get("draws") != len(networks):
            raise ValueError(f"it is of another number of draws than {len(networks)}")
        classes, left, fitted = classifier_of(predictor).classes, set(arrays), []
        for i, size in enumerate(networks.size):
            start = f"{i}."
            own = {x.removeprefix(start): x for x in arrays if x.startswith(start)}
            found = {
                name: np.asarray(arrays[full], np.float64) for name, full in own.items()
            }
            wanted = self.shapes(size, classes, found)
            if {name: x.shape for name, x in found.items()} != wanted:
                raise ValueError(f"its arrays are not those of {self.name}")
            left -= set(own.values())
            fitted.append(found)
        if left:
            raise ValueError(
                f"it has the array {sorted(left)[0]!r}, which is no draw's"
            )
        super().take_state(predictor, about, {})
        self._fitted, self._networks, self._heads = fitted, networks, None
        self._key = key_of(predictor)
