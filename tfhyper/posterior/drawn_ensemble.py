"""Draws of a network, without a word on what the network gives."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfhyper.checks import (
    check_bool,
    check_choice,
    check_integer,
    check_positive_integer,
    check_verbose,
)
from tfhyper.layers.seeds import check_seed
from tfhyper.posterior.networks.averaging import AVERAGING
from tfhyper.posterior.networks.draws import Draw
from tfhyper.posterior.networks.point_network import PointNetwork
from tfhyper.posterior.running import loop
from tfhyper.posterior.running.batch_norm_statistics import Calibration, moments
from tfhyper.posterior.running.batches import count_examples
from tfhyper.posterior.running.exclusive import Exclusive
from tfhyper.posterior.running.fingerprint import Fingerprint
from tfhyper.posterior.running.model_inputs import ModelInputs
from tfhyper.posterior.running.small_batches import Together
from tfhyper.posterior.running.weight_cache import Kept
from tfhyper.text import align

DROPOUT = ("off", "sample")


class Ensemble:
    """The draws of one trained network, their BatchNorm moments, their networks.

    What `tfhyper.PosteriorPredictor` stands on, where the arguments and what they
    raise are described.
    """

    def __init__(
        self,
        model,
        num_draws,
        averaging,
        batch_norm,
        seed,
        deterministic,
        batch_size,
        dropout,
    ):
        self.deterministic = check_bool("deterministic", deterministic)
        self.averaging = check_choice("averaging", averaging, AVERAGING)
        if num_draws is not None:
            check_positive_integer("num_draws", num_draws)
        self.num_draws = num_draws or (1 if deterministic else 16)
        if self.deterministic and self.num_draws != 1:
            raise ValueError(
                "`num_draws` must be 1, or left out, with `deterministic=True`: there "
                f"is one mean. Received: num_draws={num_draws}"
            )
        if dropout is not None:
            check_choice("dropout", dropout, DROPOUT)
        self.dropout = dropout or "off"
        self.seed = check_seed(seed)
        self.model = model
        self._calibration = Calibration(batch_norm, batch_size, self.deterministic)
        self._point = self._make_point(own=False)
        self._inputs = ModelInputs(model)
        self._kept = Kept(self._point)
        self._all_draws = Together(self._point, self._kept)
        self._calibrating = Exclusive("calibrate")
        self._calibration.check_network(self._point)
        if self.dropout == "sample" and not self._point.stand_ins.sampled:
            raise ValueError(
                '`dropout="sample"` needs a model with dropout whose rate is above 0. '
                f"Received: model={model.name!r} without any"
            )
        on = self._point.stand_ins.switched_on
        if dropout is None and on:
            raise ValueError(
                f"`dropout` must be given where a layer, such as '{on[0]}', is called "
                "with `training=True`, of which Keras' `predict` takes no notice: "
                '"sample" to draw its dropout, "off" to predict as Keras does. '
                "Received: dropout=None"
            )
        if not self._inside and not self._varies():
            if num_draws is not None and num_draws > 1:
                raise ValueError(
                    "`num_draws` must be 1, or left out, for a model whose layers draw "
                    "nothing: all draws would be the same. "
                    f"Received: num_draws={num_draws}, model={model.name!r}"
                )
            self.num_draws = 1
        if self.deterministic:
            self.draws = [self._point.mean()]
        else:
            self.draws = [
                self._point.sample(self.seed, i)
                for i in range(1 if self._inside else self.num_draws)
            ]
        self._weights = self._look()

    def _look(self) -> Fingerprint:
        """Returns the fingerprint of the weights that draws are made with."""
        # Moments of its own take the place of a BatchNorm's averages.
        own = [] if self.batch_norm == "moving_average" else self._point.norms_of_model
        averages = [x for n in own for x in (n.moving_mean, n.moving_variance)]
        return Fingerprint(self.model, averages)

    def _make_point(self, own=True):
        options = {
            "frozen_norms": self._calibration.with_frozen,
            "sample_dropout": self.dropout == "sample",
        }
        if self._inside:
            form = AVERAGING[self.averaging]
            return form(self.model, self.num_draws, **options)
        return PointNetwork(self.model, **options, own=own)

    def _varies(self):
        """Whether one draw differs from another."""
        return self.batch_norm == "minibatch" or self._point.is_random

    @property
    def _inside(self) -> bool:
        """Whether one network holds all the draws."""
        return self.averaging != "branching" and self.num_draws > 1

    def calibrate(
        self, inputs: Any, batch_size: int | None = None, verbose: int = 1
    ) -> "Ensemble":
        """Gives each draw the BatchNorm moments of a pass over training inputs.

        Layer by layer, as in training: a layer sees inputs that the layers
        before it normalised by the same batch. The moments of the pass are
        those of all its examples together, and of `"minibatch"` those of the
        draw's own mini-batch.

        Args:
            inputs: training inputs, a subset of them, or a `tf.data.Dataset` of
                batches (labels are ignored), best as training saw them, with its
                augmentation. It is read once for each draw. With `"minibatch"`
                each draw takes a random mini-batch of an array, or the next
                batch of a dataset, whose batches must have the predictor's
                `batch_size`.
            batch_size: int > 0, for arrays; best that of training. 128 if left
                out. Not with `"minibatch"`.
            verbose: 0 for silence, 1 for a progress bar.

        Returns:
            The predictor.

        Raises:
            ValueError: if `inputs` is empty or not finite, or too few for a
                mini-batch; if the moments come out not finite; or with
                `batch_norm="moving_average"`.
        """
        check_verbose(verbose)
        with self._calibrating:
            draws = self.calibrated(self.draws, inputs, batch_size, verbose)
            # Who predicts meanwhile has the draws of before, and not some of each.
            self.draws = draws
            if self._weights.changed():
                self._weights = self._look()
        return self

    def calibrated(
        self, draws: list[Draw], inputs: Any, batch_size: int | None, verbose: int = 0
    ) -> list[Draw]:
        """Returns draws with moments of their own; arguments as for `calibrate`."""
        sent = self._calibration.passes(
            inputs, batch_size, self._inputs, len(draws), self.seed
        )
        self._kept.forget()
        self._all_draws.forget()
        own = self._point.own_variables
        before = [ops.convert_to_numpy(x) for x in own]
        self._point.copy_weights()
        try:
            runs = self._kept.runs_for_moments(draws)
            found = moments(self._point, runs, sent)
            done = loop.progress("calibrate", draws, len(draws), verbose)
            return [
                dataclasses.replace(draw, moments=values)
                for draw, values in zip(done, found, strict=False)
            ]
        except BaseException:
            # All or nothing: the predictor is as it was.
            for variable, value in zip(own, before, strict=True):
                variable.assign(value)
            raise

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
            ValueError: if `draw` is out of range, or if `calibrate` is due.
        """
        if not isinstance(draw, Draw):
            self.check_calibrated()
            draw = self.draws[check_integer("draw", draw, 0, len(self.draws) - 1)]
        point = self._make_point()
        point.set(draw)
        return point.network

    def parameters(self) -> dict[str, int]:
        """Returns how many parameters there are: trained, of a draw, averaged over.

        Moving averages of BatchNorm included. `"averaged"` counts what the N draws
        come to as plain networks: N networks with `"branching"`, in the residual
        blocks N times as many with `"parallelizing"`, N^2 with `"widening"`.
        """
        one = self._point.network.count_params()
        averaged = one if self._inside else one * self.num_draws
        if self._inside:
            one = PointNetwork(self.model).network.count_params()
        return {"trained": self.model.count_params(), "draw": one, "averaged": averaged}

    def summary(self, print_fn: Callable[[str], Any] = print) -> None:
        """Prints the averaging form and its numbers of parameters.

        Args:
            print_fn: takes the text.
        """
        counts = self.parameters()
        form = f"averaged, x{self.num_draws} {self.averaging}"
        noise = sum(x.size for x in self.draws[0].noise.values())
        rows = [
            (f"Predictor of '{self.model.name}'", "Parameters"),
            ("trained model", f"{counts['trained']:,}"),
            ("plain network of one draw", f"{counts['draw']:,}"),
            (form, f"{counts['averaged']:,}"),
            ("", "Noise"),
            ("all draws", f"{noise * len(self.draws):,}"),
        ]
        print_fn(align(rows))

    @property
    def num_networks(self) -> int:
        """How many networks predict: 1 if one holds all the draws."""
        return len(self.draws)

    def _runs(self, draws=None):
        draws = self.check_calibrated(draws)
        return self._kept.runs(draws)

    def _networks(self, draws=None):
        return [(self._point, draw) for draw in self.check_calibrated(draws)]

    def _together(self, data):
        draws = self.check_calibrated()
        if not data.fixed:
            return None
        examples = count_examples(data.inputs)
        size = min(examples, data.batch_size)
        return self._all_draws.of(draws, size, -(-examples // size))

    @property
    def batch_norm(self) -> str:
        """Where a draw's BatchNorm moments come from: see the argument."""
        return self._calibration.batch_norm

    @property
    def batch_size(self) -> int | None:
        """Examples of a mini-batch of `batch_norm="minibatch"`, else `None`."""
        return self._calibration.batch_size

    def weights_changed(self) -> bool:
        """Whether the model has other weights than when they were taken."""
        return bool(self._weights.changed())

    def _check_weights(self):
        if changed := self._weights.changed():
            raise ValueError(
                "The model was trained since its weights were taken: call "
                "`calibrate` again, or make another predictor. Received: a model "
                f"whose variable '{changed[0]}' has other values"
            )

    def check_calibrated(self, draws=None):
        """Returns the present draws, or those given, where they can predict."""
        draws = self.draws if draws is None else draws
        self._check_weights()
        self._calibration.check_done(self._point, draws)
        return draws
