"""The table of predictors side by side, and its forms."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from tfhyper.metrics import BootstrapInterval
from tfhyper.metrics.resampling import numbers_of
from tfhyper.summary import Summarized, Summary

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]  # has none of its own
    from matplotlib.figure import Figure, SubFigure

# What scores are called in tables, and below them.
TITLES = {
    "error": "error",
    "nll": "NLL, nats",
    "nll_scaled": "NLL scaled",
    "brier": "Brier",
    "ece": "ECE",
    "aurc": "AURC",
    "rmse": "RMSE",
    "crps": "CRPS",
    "coverage_90": "coverage of 90 %",
    "width_90": "width of 90 %",
}
# Of what is known of a predictor besides -> its heading, and what it is divided by.
_COSTS = {
    "train_seconds": ("training, s", 1.0),
    "predict_seconds": ("ms / example", 1e-3),
    "file_bytes": ("file, MB", 1e6),
    "parameters": ("parameters", 1.0),
}


@dataclasses.dataclass(frozen=True, repr=False)
class ComparisonTable(Summarized):
    """Predictors side by side: what `tfhyper.evaluate` returns.

    Attributes:
        scores: name of a predictor -> score -> `tfhyper.metrics.BootstrapInterval`:
            of a classifier error, nll, brier, ece, aurc and, with `calibration`,
            nll_scaled; of a regression rmse, crps, nll, coverage_90, width_90, aurc.
        foreign: name -> kind of foreign inputs -> uncertainty ("total", "epistemic",
            "foreign") -> interval of the AUROC by which it tells them from known ones.
        shifted: name -> kind of shift -> severity -> score -> number.
        costs: name -> "train_seconds" (`None` where unknown), "predict_seconds" of one
            example, "file_bytes" (`None` where it cannot be saved), "parameters" of all
            its models, and "draws".
        counts: how many inputs there are of "test" and of each foreign kind.
        level: of the intervals, a probability.

    Example:

    >>> table = tfhyper.evaluate(
    ...     {"one": predictor}, (x_val, y_val), num_samples=20, timed_batches=1
    ... )
    >>> isinstance(table, tfhyper.comparison.ComparisonTable)
    True
    >>> list(table.scores["one"])
    ['error', 'nll', 'brier', 'ece', 'aurc']
    """

    scores: dict[str, dict[str, BootstrapInterval]]
    foreign: dict[str, dict[str, dict[str, BootstrapInterval]]]
    shifted: dict[str, dict[str, dict[int, dict[str, float]]]]
    costs: dict[str, dict[str, float | None]]
    counts: dict[str, int]
    level: float

    def severity_means(self) -> dict[str, dict[int, dict[str, float]]]:
        """Returns name -> severity -> score, the mean over the kinds of shift.

        Example:

        >>> loud = {1: 1.5 * x_val, 2: 3 * x_val}
        >>> table = tfhyper.evaluate(
        ...     {"one": predictor},
        ...     (x_val, y_val),
        ...     shifted={"loud": loud},
        ...     num_samples=2,
        ...     timed_batches=1,
        ... )
        >>> list(table.severity_means()["one"])
        [1, 2]
        """
        found: dict[str, dict[int, dict[str, float]]] = {}
        for name, kinds in self.shifted.items():
            severities = sorted(
                {n for by_severity in kinds.values() for n in by_severity}
            )
            found[name] = {
                n: _mean([kind[n] for kind in kinds.values() if n in kind])
                for n in severities
            }
        return found

    def mean_corruption(self) -> dict[str, dict[str, float]]:
        """Returns name -> score, the mean over kinds and severities of shift.

        Each kind counts alike, as in the mean corruption error, which is not divided
        by that of another network here.

        Reference:
            Hendrycks, Dietterich: Benchmarking neural network robustness to common
            corruptions and perturbations, ICLR 2019, section 4.
        """
        return {
            name: _mean([_mean(list(kind.values())) for kind in kinds.values()])
            for name, kinds in self.shifted.items()
            if kinds
        }

    def to_summary(self) -> Summary:
        """Returns what is shown: a row for each predictor."""
        first = next(iter(self.scores))
        titles = [TITLES.get(score, score) for score in self.scores[first]]
        titles += [f"AUROC {kind}" for kind in self.foreign.get(first, {})]
        means = self.mean_corruption()
        shown = _shown_scores(self.scores[first])
        if means:
            titles += [f"shifted {TITLES.get(score, score)}" for score in shown]
        titles += [heading for heading, _ in _COSTS.values()]
        rows = []
        for name, scores in self.scores.items():
            row = [name, *(_cell(interval) for interval in scores.values())]
            row += [
                " / ".join(f"{x.value:.3f}" for x in by_score.values())
                for by_score in self.foreign.get(name, {}).values()
            ]
            if means:
                row += [f"{means[name][score]:.3f}" for score in shown]
            row += [_cost(self.costs[name], key) for key in _COSTS]
            rows.append(row)
        sizes = ", ".join(f"{count:,} {name}" for name, count in self.counts.items())
        notes = [f"inputs: {sizes}; {self.level:.0%} intervals by bootstrap"]
        if self.foreign.get(first):
            notes.append("AUROC by the uncertainties total / epistemic / foreign")
        parts = []
        if means:
            kinds = list(self.shifted[first])
            notes.append(f"shifted: means over {len(kinds)} kinds ({', '.join(kinds)})")
            parts = [("by severity", self._by_severity(shown))]
        return Summary(
            "Predictors compared", ["predictor", *titles], rows, notes, parts
        )

    def _by_severity(self, shown: list[str]) -> Summary:
        means = self.severity_means()
        severities = list(next(iter(means.values())))
        head = ["predictor", *(f"severity {n}" for n in severities)]
        rows = [
            [name]
            + [" / ".join(f"{found[n][x]:.3f}" for x in shown) for n in severities]
            for name, found in means.items()
        ]
        titles = " / ".join(TITLES.get(score, score) for score in shown)
        return Summary("", head, rows, [titles])

    def markdown(self) -> str:
        """Returns the table in Markdown, and that of severities below it."""
        return self.to_summary().markdown()

    def html(self) -> str:
        """Returns the table in HTML, without scripts or anything that is loaded."""
        return self.to_summary().html()

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers as dicts and lists; severities are text, as in JSON."""
        return json.loads(self.to_json())

    def to_json(self) -> str:
        """Returns the numbers as text in JSON.

        Example:

        >>> table = tfhyper.evaluate(
        ...     {"one": predictor}, (x_val, y_val), num_samples=2, timed_batches=1
        ... )
        >>> sorted(json.loads(table.to_json())["scores"]["one"]["nll"])
        ['lower', 'standard_error', 'upper', 'value']
        """
        found = {field.name: getattr(self, field.name) for field in _fields()}
        means = {"mean": self.mean_corruption(), "by_severity": self.severity_means()}
        return json.dumps({**_plain(found), "shifted_means": means}, indent=2)

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a row for each predictor, and a column for each number.

        Scores are columns by their names, and with "_lower" and "_upper" the ends of
        their intervals; "foreign_KIND_UNCERTAINTY" is an AUROC, and "shifted_SCORE" the
        mean over shifts.

        Raises:
            ImportError: if pandas is not installed.
        """
        try:
            import pandas
        except ImportError as missing:
            raise ImportError(
                "`to_pandas` needs pandas. Install it with `pip install pandas`."
            ) from missing
        means = self.mean_corruption()
        rows = {}
        for name, scores in self.scores.items():
            intervals = dict(scores)
            for kind, by_score in self.foreign.get(name, {}).items():
                intervals |= {f"foreign_{kind}_{x}": v for x, v in by_score.items()}
            row: dict[str, float | None] = {}
            for key, found in intervals.items():
                row[key] = found.value
                row[f"{key}_lower"], row[f"{key}_upper"] = found.lower, found.upper
            row |= {f"shifted_{key}": x for key, x in means.get(name, {}).items()}
            rows[name] = {**row, **self.costs[name]}
        return pandas.DataFrame.from_dict(rows, orient="index")

    def plot(
        self, title: str | None = None, figure: Figure | SubFigure | None = None
    ) -> Figure | SubFigure:
        """Draws scores with their intervals, and scores against the severity.

        See `tfhyper.analysis.comparison_plot`.

        Args:
            title: text above the figure, or `None`.
            figure: a figure, or a part of one, to draw in; `None` for a new one.

        Returns:
            The figure, for which matplotlib is needed: `pip install tfhyper[plots]`.

        Raises:
            ImportError: if matplotlib is not installed.
        """
        from tfhyper.analysis import comparison_plot

        return comparison_plot(self, title, figure)


def _fields() -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(ComparisonTable)


def _shown_scores(scores: dict[str, BootstrapInterval]) -> list[str]:
    """Returns which two scores are shown of shifted inputs."""
    return [score for score in ("error", "rmse", "nll") if score in scores]


def _mean(found: list[dict[str, float]]) -> dict[str, float]:
    return {key: sum(x[key] for x in found) / len(found) for key in found[0]}


def _cell(interval: BootstrapInterval) -> str:
    return f"{interval.value:.3f} [{interval.lower:.3f}, {interval.upper:.3f}]"


def _cost(costs: dict[str, float | None], key: str) -> str:
    value = costs[key]
    if value is None:
        return "-"
    scaled = value / _COSTS[key][1]
    return f"{scaled:,.0f}" if key == "parameters" else f"{scaled:,.3g}"


def _plain(value: Any) -> Any:
    """Returns a value of dicts and numbers alone."""
    if isinstance(value, BootstrapInterval):
        return numbers_of(value)
    if isinstance(value, dict):
        return {str(key): _plain(x) for key, x in value.items()}
    return value
