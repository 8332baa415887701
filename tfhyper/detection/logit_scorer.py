"""What scores of the logits of each draw share."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from tfhyper.checks import Verbose
from tfhyper.detection._arrays import check_logits
from tfhyper.detection.networks import (
    Features,
    Head,
    check_weights,
    classifier_of,
    features_of,
    made_up_batch,
)
from tfhyper.detection.scorer import Scorer
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.running.batches import Batch, Batches, Part
from tfhyper.posterior.running.loop import finite_outputs
from tfhyper.posterior.running.weight_cache import draws_key
from tfhyper.posterior.tasks.foreign_scores import Arrays, GraphOfDraws, ScoreGraph
from tfhyper.posterior.tasks.task import only
from tfhyper.tensor_types import Tensor


class LogitScorer(Scorer):
    """Base class of scores that the logits of each draw give, averaged over the draws.

    They need a network that ends in logits, or in a Dense layer with a softmax behind
    it. No scaling is applied.
    """

    _networks: Features | None = None
    _key: tuple[int, int] | None = None

    @abc.abstractmethod
    def formula(self, logits: Tensor, xp: Any) -> Tensor:
        """Returns the scores of logits (..., classes), (...).

        Args:
            logits: arrays or tensors.
            xp: `numpy` or `keras.ops`, whose functions take them.
        """

    def of_logits(self, logits: ArrayLike) -> np.ndarray:
        """Returns the scores of logits (..., classes), float64 (...).

        Args:
            logits: finite numbers.

        Raises:
            ValueError: for NaN, infinity or fewer than two classes.
            TypeError: for what are no real numbers.
        """
        return self.formula(check_logits(logits), np)

    def graph(self) -> ScoreGraph:
        """Returns the scorer in operations on tensors, see the base class."""
        predictor = self.fitted()
        check_weights(predictor)
        task = classifier_of(predictor)
        if task.name == "logits":
            nothing: list[Arrays] = [{}] * predictor.num_networks
            return GraphOfDraws(
                nothing, lambda point: None, lambda logits, _: self.formula(logits, ops)
            )
        heads = []
        for draw in self._features(predictor).draws():
            heads.append(draw.head())
            draw.check_head(heads[-1], made_up_batch(draw.network), task)

        def of_draw(features: Tensor, arrays: dict[str, Tensor]) -> Tensor:
            return self.formula(Head(**arrays)(features), ops)

        return GraphOfDraws([head.arrays() for head in heads], features_of, of_draw)

    def _check_predictor(self, predictor: BasePredictor) -> None:
        """Raises ValueError where logits are none of a softmax, or not to be had."""
        task = classifier_of(predictor)
        if task.link != "softmax":
            raise ValueError(
                '`predictor` must have `link="softmax"`: the score is one of logits '
                f"behind a softmax. Received: link={task.link!r}"
            )

    def _fit(
        self,
        predictor: BasePredictor,
        data: Batches | None,
        y_train: ArrayLike | None,
        verbose: Verbose,
    ) -> None:
        """Needs the logits alone: looks for them."""
        self._networks = None
        if classifier_of(predictor).name == "probabilities":
            next(self._features(predictor).draws()).head()

    def take_state(
        self,
        predictor: BasePredictor,
        about: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
    ) -> None:
        """Takes what `state` gave, which is nothing but the arguments."""
        super().take_state(predictor, about, arrays)
        self._networks = None

    def _numbers(self, batch: Batch) -> int:
        """Returns how many logits of a batch there are."""
        return batch.count * classifier_of(self.fitted()).classes

    def _of_part(self, part: Part) -> np.ndarray:
        """Returns the mean of the draws' scores of some batches."""
        predictor = self.fitted()
        check_weights(predictor)
        task = classifier_of(predictor)
        total, count = np.zeros(part.num_examples), 0
        if task.name == "logits":
            for run in predictor.runs():
                logits = []
                for batch in part:
                    outputs = finite_outputs(run(batch.inputs, batch.start))
                    task.read(outputs)  # refuses what are no logits
                    logits.append(only(outputs))
                total += self.of_logits(np.concatenate(logits))
                count += 1
            return total / count
        for draw in self._features(predictor).draws():
            head = draw.head()
            for batch in itertools.islice(part, 1):
                draw.check_head(head, batch, task)
            features, *_ = draw(part)
            total += self.of_logits(head(features))
            count += 1
        return total / count

    def _features(self, predictor: BasePredictor) -> Features:
        """Returns the networks of the present draws, made anew when these change."""
        key = draws_key(predictor.source.draws)
        if self._networks is None or key != self._key:
            self._networks, self._key = Features(predictor, None, None), key
        return self._networks
