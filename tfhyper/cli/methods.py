"""Methods that `tfhyper compare` trains and sets side by side: one entry each."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfhyper import kits, training
from tfhyper.data import Data
from tfhyper.laplace import Laplace
from tfhyper.posterior import DeepEnsemble, PosteriorPredictor
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.variational import Variational

# Training images whose moments BatchNorm has while a width is chosen.
WIDTH_EXAMPLES = 2000
# Name of a training -> the kit of its network, for so many examples and a seed.
_KITS: dict[str, Callable[[int, int], kits.LayerKit]] = {
    "map": lambda count, seed: kits.deterministic(),
    "mc_dropout": lambda count, seed: kits.mc_dropout(0.2, seed=seed),
    "bayes": lambda count, seed: kits.bayes(count, seed=seed),
    "sngp": lambda count, seed: kits.sngp(count, seed=seed),
    "vbll": lambda count, seed: kits.vbll(count, seed=seed),
    "hyper_ivon": lambda count, seed: kits.hyper(
        mean_kernel=True, deviation_scale=0.3, seed=seed
    ),
}


@dataclasses.dataclass(frozen=True)
class Made:
    """What a method has to make its predictor of.

    Args:
        models: the trained networks, of seeds that follow each other.
        data: what they were trained on.
        draws: how many draws are averaged over.
        seed: of the draws.
    """

    models: Sequence[keras.Model]
    data: Data
    draws: int
    seed: int

    def plain(self) -> PosteriorPredictor:
        """Returns the predictor of the first network as it is."""
        return PosteriorPredictor(self.models[0], 1, batch_norm="moving_average")

    def drawn(self, batch_norm: Any = "reestimate", **options: Any) -> Any:
        """Returns that of draws of the first network."""
        predictor = PosteriorPredictor(
            self.models[0],
            self.draws,
            batch_norm=batch_norm,
            seed=self.seed,
            **options,
        )
        if batch_norm != "moving_average":
            predictor.estimate_batch_norm(self.data.epoch(0), verbose=0)
        return predictor


@dataclasses.dataclass(frozen=True)
class Method:
    """A method: what it trains, and what predicts.

    Args:
        trains: a name of the trainings, which methods share.
        predicts: makes the predictor of what was trained.
        is_ensemble: whether several networks are trained.
    """

    trains: str
    predicts: Callable[[Made], BasePredictor]
    is_ensemble: bool = False


def _scaled(made: Made) -> BasePredictor:
    return made.plain().fit_scaling(made.data.validation, verbose=0)


def _mcbn(made: Made) -> BasePredictor:
    return made.drawn("minibatch", batch_size=made.data.batch_size)


def _of_fitted_width(made: Made) -> BasePredictor:
    data = made.data
    moments = data.train_plain.take(-(-WIDTH_EXAMPLES // data.batch_size))
    predictor = PosteriorPredictor(made.models[0], made.draws, seed=made.seed)
    predictor.fit_width(data.validation, moments=moments, verbose=0)
    return predictor.estimate_batch_norm(data.epoch(0), verbose=0)


def _laplace(made: Made) -> BasePredictor:
    fitted = Laplace(made.models[0]).fit(made.data.train_plain, verbose=0)
    fitted.fit_prior_precision(verbose=0)
    return fitted.predictor("mc", made.draws)


def _ensemble(made: Made) -> BasePredictor:
    return DeepEnsemble(list(made.models), batch_norm="moving_average")


# Name of a method -> the method.
METHODS: dict[str, Method] = {
    "map": Method("map", Made.plain),
    "map_temperature": Method("map", _scaled),
    "mc_dropout": Method("mc_dropout", lambda made: made.drawn("moving_average")),
    "mcbn": Method("map", _mcbn),
    "hyper_ivon": Method("hyper_ivon", _of_fitted_width),
    "bayes": Method("bayes", Made.drawn),
    "sngp": Method("sngp", Made.drawn),
    "vbll": Method("vbll", Made.drawn),
    "laplace": Method("map", _laplace),
    "ensemble": Method("map", _ensemble, is_ensemble=True),
}


def network(
    name: str, builder: Callable[..., keras.Model], data: Data, epochs: int, seed: int
) -> keras.Model:
    """Returns the network of a training, compiled.

    Args:
        name: of the training.
        builder: a small network's, of `tfhyper.models`.
        data: what it is trained on.
        epochs: of the training.
        seed: of weights and noise.
    """
    keras.utils.set_random_seed(seed)
    model = builder(
        num_classes=data.spec.num_classes,
        input_shape=data.spec.image_shape,
        kit=_KITS[name](data.num_train, seed),
    )
    sizes = epochs, data.steps_per_epoch
    if name != "hyper_ivon":
        return training.compile_recipe(model, *sizes)
    # Of generated kernels, as examples/train.py has it: steps are quicker.
    variational = Variational(model, data.num_train, generator_noise=False, seed=seed)
    return training.compile_variational_recipe(variational, *sizes)
