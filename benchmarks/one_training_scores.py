"""What `one_training.py` says of a row: scores of kept predictions."""

import dataclasses
import json
from typing import Any

import foreign_inputs
import numpy as np
import scipy.optimize
from one_training_lab import Lab
from one_training_rows import ROWS, Row, Training
from one_training_settings import ENSEMBLE, Setting

from tfhyper import metrics


def fit_temperature(labels: np.ndarray, probs: np.ndarray) -> float:
    """Returns the temperature at which the likelihood of labels is largest.

    softmax(log p / T) in place of p, T in 0.05 to 20 (Guo et al., On calibration of
    modern neural networks, ICML 2017; here of the averaged probabilities).
    """

    def loss(log_temperature: float) -> float:
        scaled = at_temperature(probs, float(np.exp(log_temperature)))
        return metrics.negative_log_likelihood(labels, scaled)

    bounds = (np.log(0.05), np.log(20.0))
    found = scipy.optimize.minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def at_temperature(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Returns softmax(log p / T) of probabilities (examples, classes)."""
    logits = np.log(np.maximum(probs.astype("float64"), 1e-30)) / temperature
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def report(
    labels: np.ndarray,
    members: np.ndarray,
    held_out_labels: np.ndarray,
    held_out: np.ndarray,
) -> dict[str, Any]:
    """Returns the scores of an average over draws, raw and after one temperature.

    `"validation"` has those of the validation images, raw.

    Args:
        labels: of the test images.
        members: probabilities (draws, test images, classes).
        held_out_labels: of the validation images.
        held_out: probabilities (draws, validation images, classes).
    """
    probs = members.mean(0, dtype="float64")
    held_out_probs = held_out.mean(0, dtype="float64")
    temperature = fit_temperature(held_out_labels, held_out_probs)
    scaled = metrics.classification_report(labels, at_temperature(probs, temperature))
    return {
        **metrics.classification_report(labels, probs),
        "temperature": temperature,
        "nll_temperature": scaled["nll"],
        "ece_temperature": scaled["ece"],
        # What choices are made by.
        "validation": metrics.classification_report(held_out_labels, held_out_probs),
    }


def score_group(lab: Lab, row: Row, group: list[Training]) -> dict[str, Any] | None:
    """Returns the scores of one group of a row's trainings; `None` if some are due."""
    if not all(lab.predicted(training, row.drawing) for training in group):
        return None
    y_test, y_validation = lab.images.test[1], lab.images.validation[1]
    test, validation = (
        lab.members(row, group, name) for name in ("test", "validation")
    )
    members = len(test) // len(group)
    main = row.main_draws(lab.setting, members)
    singles = lab.setting.singles
    ones = [
        report(y_test, test[i : i + 1], y_validation, validation[i : i + 1])
        for i in range(min(singles, len(test)))
    ]
    draws: dict[str, dict] = {"1": _over(ones, np.median)}
    for count in sorted({main, *row.num_draws(lab.setting, members)}):
        if count > 1:
            draws[str(count)] = report(
                y_test, test[:count], y_validation, validation[:count]
            )
    found = {
        "trainings": [training.name for training in group],
        "main_draws": main,
        "draws": draws,
        **draws[str(main)],
        "disagreement": metrics.disagreement(test[:main]) if main > 1 else 0.0,
        "flips": _flips(lab, row, group, test[:main], validation[:main]),
        "gradient_evaluations": row.cost(),
        **lab.costs(row, group),
    }
    return {**found, **_foreign(lab, row, group, test[:main])}


def _flips(
    lab: Lab, row: Row, group: list[Training], test: np.ndarray, validation: np.ndarray
) -> dict[str, dict]:
    """Returns the scores with test images flipped: both ways by each draw, or by turns.

    By turns costs nothing: every second draw sees the flipped image.
    """
    y_test, y_validation = lab.images.test[1], lab.images.validation[1]
    pairs = [
        (test, lab.members(row, group, "test_flipped")),
        (validation, lab.members(row, group, "validation_flipped")),
    ]
    both = [(x + y) / 2 for x, y in pairs]
    found = {"both": report(y_test, both[0], y_validation, both[1])}
    if len(test) > 1:
        odd = np.arange(len(test))[:, None, None] % 2 == 1
        turns = [np.where(odd, y, x) for x, y in pairs]
        found["turns"] = report(y_test, turns[0], y_validation, turns[1])
    return found


def _foreign(
    lab: Lab, row: Row, group: list[Training], test: np.ndarray
) -> dict[str, Any]:
    """Returns AUROCs of each kind of foreign images, and medians of the epistemic."""
    known = foreign_inputs.uncertainties(test)
    known["mahalanobis"] = lab.distance(row, group, "test")
    aurocs, medians = {}, {}
    if "epistemic" in known:
        medians["test"] = float(np.median(known["epistemic"]))
    for kind in lab.foreign:
        scores = foreign_inputs.uncertainties(lab.members(row, group, kind))
        scores["mahalanobis"] = lab.distance(row, group, kind)
        aurocs[kind] = foreign_inputs.auroc(known, scores)
        if medians:
            medians[kind] = float(np.median(scores["epistemic"]))
    return {"auroc": aurocs, "epistemic_median": medians}


def summary(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the median and the range over groups of every number of their scores."""
    return {"median": _over(groups, np.median), "range": _over(groups, _range)}


def _over(groups: list[Any], function: Any) -> Any:
    first = groups[0]
    if isinstance(first, dict):
        # A kind of foreign images may be missing in one.
        keys = [k for k in first if all(k in x for x in groups) and k != "trainings"]
        return {key: _over([x[key] for x in groups], function) for key in keys}
    found = function(np.array(groups, float))
    return found if isinstance(found, list) else float(found)


def _range(values: np.ndarray) -> list[float]:
    return [float(values.min()), float(values.max())]


def scored_before(
    content: dict[str, Any] | None, setting: Setting
) -> dict[tuple, dict[str, Any]]:
    """Returns the scores of groups that a JSON has, as `results` takes them.

    Args:
        content: of the JSON; `None` if there is none.
        setting: that the scores must be of; those of another one are left out.
    """
    as_json = json.loads(json.dumps(dataclasses.asdict(setting)))
    if content is None or content["setting"] != as_json:
        return {}
    found = {}
    for name, row in ROWS.items():
        scored = {
            tuple(group["trainings"]): group
            for group in content["results"].get(name, {}).get("groups", [])
        }
        for group in row.groups(setting):
            names = tuple(training.name for training in group)
            if names in scored:
                found[(name, *group)] = scored[names]
    return found


def results(lab: Lab, rows: list[Row], kept: dict) -> dict[str, Any]:
    """Returns the scores of all rows that are there, and what they recover.

    Args:
        lab: of the predictions.
        rows: the rows, in their order.
        kept: scores of groups, by (name of the row, *trainings), that were computed
            before; new ones are added.
    """
    found = {}
    for row in rows:
        groups = []
        for group in row.groups(lab.setting):
            key = (row.name, *group)
            if kept.get(key) is None:
                kept[key] = score_group(lab, row, group)
            if kept[key] is not None:
                groups.append(kept[key])
        if groups:
            found[row.name] = {
                "title": row.title,
                "groups": groups,
                "of_groups": len(row.groups(lab.setting)),
                **summary(groups),
            }
    for scores in found.values():
        scores["recovered"] = recovered(found, scores["median"])
        scores["equivalent"] = equivalent(found, scores["median"]["nll"])
    return found


# Rows of 1, 2, ... trainings.
_TRAININGS = ("map", "two", "three", "four")


def recovered(found: dict[str, Any], median: dict[str, Any]) -> dict[str, float]:
    """Returns the share of what four trainings gain over one that a row gains."""
    if not {_TRAININGS[0], _TRAININGS[-1]} <= found.keys():
        return {}
    one, four = (found[name]["median"] for name in (_TRAININGS[0], _TRAININGS[-1]))
    return {
        key: (one[key] - median[key]) / (one[key] - four[key])
        for key in ("error", "nll", "nll_temperature")
        if one[key] != four[key]
    }


def equivalent(found: dict[str, Any], nll: float) -> float | None:
    """Returns how many trainings, averaged over, have this NLL: 1 to 4.

    Between whole numbers the NLL is a straight line; 1 is also what is worse than one
    training, and 4 what is better than four. `None` while trainings are due.

    Reference:
        Ashukha et al.: Pitfalls of in-domain uncertainty estimation and ensembling in
        deep learning, ICLR 2020, the deep ensemble equivalent.
    """
    if not found.keys() >= set(_TRAININGS):
        return None
    curve = [found[name]["median"]["nll"] for name in _TRAININGS]
    # More networks are never worse but by chance.
    falling = np.minimum.accumulate(curve)[::-1]
    return float(np.interp(nll, falling, np.arange(ENSEMBLE, 0, -1)))
