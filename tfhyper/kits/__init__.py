"""Kits: which layers fill a network's skeleton."""

from collections.abc import Callable

from tfhyper.checks import check_choice, warn_of_old_name
from tfhyper.kits.bayes import bayes
from tfhyper.kits.bayes_lora import bayes_lora
from tfhyper.kits.bayesian_hypernet import bayesian_hypernet
from tfhyper.kits.concrete_dropout import concrete_dropout
from tfhyper.kits.deterministic import deterministic
from tfhyper.kits.drop_connect import drop_connect
from tfhyper.kits.hyper import hyper
from tfhyper.kits.kit import LayerKit
from tfhyper.kits.mc_dropout import mc_dropout
from tfhyper.kits.mnf import mnf
from tfhyper.kits.rank_one import rank_one
from tfhyper.kits.sharing import SHARING
from tfhyper.kits.sngp import sngp
from tfhyper.kits.static_hypernet import static_hypernet
from tfhyper.kits.subspace import subspace
from tfhyper.kits.variational_dropout import variational_dropout
from tfhyper.kits.vbll import vbll

# Those that fill networks: `bayes_lora` is for trained ones alone.
KITS: dict[str, Callable[..., LayerKit]] = {
    "bayes": bayes,
    "bayesian_hypernet": bayesian_hypernet,
    "concrete_dropout": concrete_dropout,
    "deterministic": deterministic,
    "drop_connect": drop_connect,
    "hyper": hyper,
    "mc_dropout": mc_dropout,
    "mnf": mnf,
    "rank_one": rank_one,
    "sngp": sngp,
    "static_hypernet": static_hypernet,
    "subspace": subspace,
    "variational_dropout": variational_dropout,
    "vbll": vbll,
}

__all__ = [
    "KITS",
    "LayerKit",
    "SHARING",
    "bayes",
    "bayes_lora",
    "bayesian_hypernet",
    "concrete_dropout",
    "deterministic",
    "drop_connect",
    "get",
    "hyper",
    "mc_dropout",
    "mnf",
    "rank_one",
    "sngp",
    "static_hypernet",
    "subspace",
    "variational_dropout",
    "vbll",
]


def __getattr__(name: str) -> dict:
    if name == "STRATEGIES":
        warn_of_old_name("tfhyper.kits.STRATEGIES", "SHARING")
        return SHARING
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get(kit: str | LayerKit) -> LayerKit:
    """Returns a kit ready for one network.

    Args:
        kit: a `LayerKit`, or the name of one in `KITS`, with its defaults.

    Raises:
        ValueError: for a name that is not in `KITS`, or of a kit that needs
            arguments.
        TypeError: for anything that is neither.

    Example:

    >>> kit = tfhyper.kits.get("hyper")
    >>> kit.name
    'hyper'
    """
    if isinstance(kit, str):
        kit = KITS[check_choice("kit", kit, KITS)]()
    if not isinstance(kit, LayerKit):
        raise TypeError(f"`kit` must be a LayerKit or a name. Received: kit={kit!r}")
    return kit.for_network()
