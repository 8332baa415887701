"""The names that flags offer are those that the library knows."""

from tfhyper import kits, models, training
from tfhyper.cli import choices
from tfhyper.cli.flag_sets import FORMATS
from tfhyper.cli.methods import METHODS
from tfhyper.export import __all__ as exporters
from tfhyper.layers.latent_code import PRIORS
from tfhyper.posterior.networks.averaging import AVERAGING
from tfhyper.posterior.tasks.rejection import SCORES
from tfhyper.training.strategies import STRATEGIES
from tfhyper.training.trainer import BATCH_NORMS


def test_flags_offer_what_there_is():
    assert choices.AVERAGING == tuple(AVERAGING)
    assert choices.BATCH_NORMS == BATCH_NORMS
    assert choices.KITS == tuple(sorted(kits.KITS))
    assert tuple(METHODS) == choices.METHODS
    assert choices.NETWORKS == tuple(sorted(models.NETWORKS))
    assert set(choices.FORMER_NETWORKS.values()) <= set(models.NETWORKS)
    assert choices.PRIORS == tuple(sorted(PRIORS))
    assert choices.RECIPES == tuple(training.NAMED_RECIPES)
    assert set(choices.SCORES) <= set(SCORES)
    assert choices.SHARING == tuple(sorted(kits.SHARING))
    assert choices.STRATEGIES == STRATEGIES
    assert set(FORMATS) <= set(exporters)
