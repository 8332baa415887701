"""The tables and figures of Ukai et al. (2019), each from trainings of a `Lab`."""

import dataclasses
import os
from collections.abc import Callable, Iterable

import numpy as np
from paper_runs import Lab, Run, Scale
from report import markdown_table

import tfhyper
from tfhyper import analysis, metrics, models

SIZES = (1, 2, 4, 8, 16)
MAP = {"kit": "deterministic"}
MLE = {"kit": "deterministic", "weight_decay": 0.0}
SHARING = ("all_in_one", "block_wise", "layer_wise")
CNN_UNITS = {"WRN-28-10": 16, "ResNeXt-29-8x64d": 16, "PyramidNet-110-48": 32}
PRIOR_TITLES = {
    "normal": "N(0,1)",
    "symmetric_uniform": "U(-1,1)",
    "uniform": "U(0,1)",
    "half_normal": "|N(0,1)|",
}


@dataclasses.dataclass
class Found:
    """What a table holds.

    Attributes:
        text: in Markdown.
        results: for the JSON.
        figure: or `None`.
    """

    text: str
    results: dict
    figure: object = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table or a figure of the paper.

    Attributes:
        title: what it shows.
        make: called with a `Lab`, returns a `Found`.
        runs: called with a `Scale`, returns the trainings behind it.
    """

    title: str
    make: Callable[[Lab], Found]
    runs: Callable[[Scale], list[Run]]


def seeds(lab: Lab, **options) -> list[Run]:
    """Returns a run for each seed of the scale."""
    return [Run(seed=seed, **options) for seed in lab.sizes.seeds]


def sharing_seeds(lab: Lab, **options) -> list[Run]:
    """Returns a run for each of the scale's seeds of strategies."""
    return [Run(seed=seed, **options) for seed in lab.sizes.sharing_seeds]


def curves(lab: Lab, runs: Iterable[Run], metric="error") -> analysis.ErrorCurve:
    """Returns the error by N of several trainings: their medians, all scores."""
    found = []
    for run in runs:
        members = lab.members(run)
        sizes = [n for n in SIZES if n <= len(members)]
        groups = min(lab.sizes.groups, len(members))
        curve = analysis.error_curve(
            lab.labels(run), members, metric, sizes=sizes, repeats=groups
        )
        found.append(curve)
    return pooled(found)


def pooled(found: list[analysis.ErrorCurve]) -> analysis.ErrorCurve:
    """Returns the curves of several trainings as one: medians, all scores."""
    scores = np.concatenate([curve.scores for curve in found])
    medians = np.median([curve.median for curve in found], axis=0)
    return analysis.ErrorCurve(found[0].sizes, medians, scores, found[0].label)


def ensemble_curve(lab: Lab, **options) -> analysis.ErrorCurve:
    """Returns the error by N of networks that were trained apart."""
    members = ensemble_members(lab, lab.sizes.members, **options)
    return analysis.error_curve(lab.labels(Run(**options)), members)


def ensemble_members(lab: Lab, count: int, **options) -> np.ndarray:
    """Returns the probabilities of so many networks that were trained apart."""
    runs = [Run(seed=seed, **options) for seed in range(count)]
    return np.concatenate([lab.members(run)[:1] for run in runs])


def as_dict(curve: analysis.ErrorCurve) -> dict:
    """Returns a curve for the JSON."""
    names = ("sizes", "median", "scores")
    return {name: getattr(curve, name).tolist() for name in names}


def percent(value: float) -> str:
    """Returns an error in per cent."""
    return f"{100 * value:.2f}"


def first_and_last(curve: analysis.ErrorCurve) -> list[str]:
    """Returns the error of x1 and of the largest N."""
    many = percent(curve.median[-1]) if len(curve.sizes) > 1 else "-"
    return [percent(curve.median[0]), many]


def curve_table(lines: dict, published: dict) -> str:
    """Returns errors by N as a table, the paper's numbers beside them."""
    sizes = max((curve.sizes for curve in lines.values()), key=len)
    rows = []
    for name, curve in lines.items():
        cells = [percent(value) for value in curve.median]
        cells += ["-"] * (len(sizes) - len(cells))
        rows.append([name, *cells, published.get(name, "-")])
    header = ["error %", *(f"x{n}" for n in sizes), "paper: x1 / x16"]
    return markdown_table(header, rows)


def by_curves(lines: dict, published: dict, title: str) -> Found:
    """Returns a table and a figure of errors by N."""
    return Found(
        curve_table(lines, published),
        {name: as_dict(curve) for name, curve in lines.items()},
        analysis.error_curve_plot(lines, title),
    )


def top_5_error(labels: np.ndarray, probs: np.ndarray) -> float:
    """Returns how often the label is not among the five most probable classes."""
    return metrics.top_k_error(labels, probs, 5)


def cnns(lab: Lab) -> Found:
    """Table I."""
    published = {
        "WRN-28-10, MAP": "3.90 / -",
        "WRN-28-10, hypernetwork": "3.76 / 3.73",
        "ResNeXt-29-8x64d, MAP": "4.03 / -",
        "ResNeXt-29-8x64d, hypernetwork": "3.92 / 3.91",
        "PyramidNet-110-48, MAP": "4.59 / -",
        "PyramidNet-110-48, hypernetwork": "4.64 / 4.61",
    }
    lines = {}
    for network, size in CNN_UNITS.items():
        hyper = {"prior": "uniform", "units": size}
        for title, options in (("MAP", MAP), ("hypernetwork", hyper)):
            runs = seeds(lab, network=network, **options)
            lines[f"{network}, {title}"] = curves(lab, runs)
    return by_curves(lines, published, "CNNs on CIFAR-10")


def svhn(lab: Lab) -> Found:
    """Table II."""
    published = {
        "MAP": "1.90 / -",
        "hypernetwork, U(0,1)": "1.93 / 1.93",
        "hypernetwork, N(0,1)": "1.90 / 1.80",
    }
    cells = (MAP, {"prior": "uniform"}, {"prior": "normal"})
    lines = {
        title: curves(
            lab, seeds(lab, network="WRN-16-4", dataset="svhn_cropped", **options)
        )
        for title, options in zip(published, cells, strict=True)
    }
    return by_curves(lines, published, "WRN-16-4 on SVHN")


def imagenet(lab: Lab) -> Found:
    """Table III."""
    published = {
        "MAP": {"top 1": "23.84 / -", "top 5": "7.06 / -"},
        "hypernetwork": {"top 1": "25.97 / 25.87", "top 5": "8.17 / 8.16"},
    }
    rows, results = [], {}
    for title, options in (("MAP", MAP), ("hypernetwork", {"prior": "uniform"})):
        # The paper's is one run, too.
        run = Run(network="ResNet-50", dataset="imagenet2012", **options)
        row, results[title] = [title], {}
        for name, metric in (("top 1", metrics.error), ("top 5", top_5_error)):
            curve = curves(lab, [run], metric)
            results[title][name] = as_dict(curve)
            row += [*first_and_last(curve), published[title][name]]
        rows.append(row)
    header = ["error %"]
    for name in ("top 1", "top 5"):
        header += [f"{name}, x1", f"x{curve.sizes[-1]}", "paper"]
    return Found(markdown_table(header, rows), results)


def regularization(lab: Lab) -> Found:
    """Table IV."""
    published = {
        "Ensemble-MLE": "6.05 / 4.75",
        "Ensemble-MAP": "4.23 / 3.14",
        "Bayesian hypernetwork": "failed / failed",
        "hypernetwork, N(0,1)": "4.65 / 4.06",
    }
    lines = {
        "Ensemble-MLE": ensemble_curve(lab, **MLE),
        "Ensemble-MAP": ensemble_curve(lab, **MAP),
        "Bayesian hypernetwork": curves(lab, seeds(lab, kit="bayesian_hypernet")),
        "hypernetwork, N(0,1)": curves(lab, seeds(lab)),
    }
    return by_curves(lines, published, "Methods of regularization")


def faults(lab: Lab) -> Found:
    """Table V."""
    published = {
        "N(0,1)": "269 / 109 / 130 / 225",
        "U(-1,1)": "259 / 126 / 133 / 210",
        "U(0,1)": "389 / 19 / 20 / 24",
        "|N(0,1)|": "405 / 24 / 19 / 25",
        "MAP": "196 / 123 / 173 / 314",
    }
    tables = []
    for seed in lab.sizes.seeds:
        members = {
            title: lab.members(Run(prior=prior, seed=seed))[:4]
            for prior, title in PRIOR_TITLES.items()
        }
        # One ensemble: its networks are the trainings of all the seeds.
        members["MAP"] = ensemble_members(lab, 4, **MAP)
        tables.append(analysis.fault_table(lab.labels(Run()), members))
    per_10000 = np.median([table.per_10000 for table in tables], axis=0)
    rows = [
        [method, *(f"{x:.0f}" for x in row), published[method]]
        for method, row in zip(tables[0].methods, per_10000, strict=True)
    ]
    header = ["of 10,000", *(f"{k} times" for k in tables[0].times), "paper: 4 ... 1"]
    results = {
        method: {
            "median": median.tolist(),
            "seeds": [t.per_10000[i].tolist() for t in tables],
        }
        for i, (method, median) in enumerate(
            zip(tables[0].methods, per_10000, strict=True)
        )
    }
    figure = analysis.fault_plot(tables[0], "Misclassified by 4, 3, 2, 1 of four")
    return Found(markdown_table(header, rows), results, figure)


def forms(lab: Lab) -> Found:
    """Figure 6: strategies, each with its form of averaging; and U(0,1) beside it."""
    pairs = dict(zip(SHARING, ("branching", "parallelizing", "widening"), strict=True))
    lines = {}
    for prior in ("normal", "uniform"):
        for sharing, form in pairs.items():
            runs = sharing_seeds(lab, prior=prior, sharing=sharing)
            title = f"{PRIOR_TITLES[prior]}, {sharing}, {form}"
            lines[title] = pooled([lab.form_curve(run, form) for run in runs])
    return by_curves(lines, {}, "Strategies and forms of averaging")


def priors(lab: Lab) -> Found:
    """Figure 7."""
    lines = {
        title: curves(lab, seeds(lab, prior=prior))
        for prior, title in PRIOR_TITLES.items()
    }
    lines["MAP"] = curves(lab, seeds(lab, **MAP))
    published = {"N(0,1)": "4.65 / 4.06", "MAP": "4.23 / -"}
    return by_curves(lines, published, "Priors of the codes")


def hidden_units(lab: Lab) -> Found:
    """Figure 8."""
    lines, rows = {}, []
    for network in ("WRN-28-4", "WRN-28-1"):
        if network not in lab.sizes.networks:
            continue
        for prior in ("uniform", "normal"):
            errors = np.array(
                [
                    [
                        curves(
                            lab,
                            [Run(network, prior=prior, units=units, seed=seed)],
                        ).median[[0, -1]]
                        for units in lab.sizes.units
                    ]
                    for seed in lab.sizes.unit_seeds
                ]
            )  # (seeds, units, 2)
            for i, name in enumerate(("x1", "average")):
                title = f"{network}, {PRIOR_TITLES[prior]}, {name}"
                lines[title] = (np.array(lab.sizes.units), errors[:, :, i])
                median = np.median(errors[:, :, i], axis=0)
                rows.append([title, *map(percent, median)])
    header = ["error %", *(f"{units} units" for units in lab.sizes.units)]
    return Found(
        markdown_table(header, rows),
        {name: [units.tolist(), e.tolist()] for name, (units, e) in lines.items()},
        analysis.hidden_units_plot(lines, "Units of the hypernetworks"),
    )


def correlations(lab: Lab) -> Found:
    """Section 5.6."""
    published = {
        "all_in_one": "0.979 / 0.943",
        "block_wise": "0.970 / 0.007",
        "layer_wise": "0.364 / 0.008",
    }
    rows, results, first = [], {}, {}
    for sharing in SHARING:
        found = [
            analysis.weight_correlation(
                lab.model(run), num_draws=lab.sizes.weight_draws, seed=run.seed
            )
            for run in sharing_seeds(lab, prior="uniform", sharing=sharing)
        ]
        first[sharing] = found[0]
        values = np.array([(one.within, one.across) for one in found])
        within, across = np.median(values, axis=0)
        results[sharing] = {"within": within, "across": across}
        results[sharing]["seeds"] = values.tolist()
        results[sharing]["noise_floor"] = found[0].noise_floor
        cells = f"{within:.3f}", f"{across:.3f}", published[sharing]
        rows.append([sharing, *cells])
    header = ["sharing, U(0,1)", "within a block", "across", "paper"]
    figure = analysis.correlation_plot(first, title="Correlations of pairs of weights")
    return Found(markdown_table(header, rows), results, figure)


def scatter(lab: Lab) -> Found:
    """Figure 9."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6), layout="constrained")
    rows, results = [], {}
    parts = figure.subfigures(2, 3)
    for row, prior in zip(parts, ("normal", "uniform"), strict=True):
        pairs = analysis.weight_pairs(
            lab.model(Run(prior=prior)),
            num_pairs=3,
            num_draws=min(1000, lab.sizes.weight_draws),
        )
        for i, part in enumerate(row):
            pair = pairs.samples[:, i].T
            analysis.weight_pair_plot(
                *pair, pairs.names[i], title=PRIOR_TITLES[prior], figure=part
            )
            correlation = float(np.corrcoef(pair)[0, 1])
            name = f"{PRIOR_TITLES[prior]}: {', '.join(pairs.names[i])}"
            results[name] = correlation
            rows.append([name, f"{correlation:.3f}"])
    return Found(markdown_table(["pair", "correlation"], rows), results, figure)


def complexity(lab: Lab) -> Found:
    """Section 5.3: of the paper's network at every scale, as it is not trained."""
    kit = tfhyper.kits.hyper("all_in_one", mean_kernel=False)
    found = analysis.complexity(models.wide_resnet(28, 4, kit=kit))
    rows = [
        ["network, per image", f"{found.per_image / 1e9:.2f} x 10^9", "0.85 x 10^3"],
        ["generator, per batch", f"{found.per_batch / 1e9:.2f} x 10^9", "0.18 x 10^3"],
        ["added in training, batches of 128", f"{found.overhead:.1%}", "0.2 %"],
    ]
    results = {
        "per_image": found.per_image,
        "per_batch": found.per_batch,
        "overhead": found.overhead,
    }
    text = markdown_table(["WRN-28-4, multiply-adds", "ours", "paper"], rows)
    return Found(text, results, analysis.complexity_plot(found, "WRN-28-4"))


def runs_of(seeds: Iterable[int], *cells: dict) -> list[Run]:
    """Returns a run for each cell and seed."""
    return [Run(seed=seed, **cell) for cell in cells for seed in seeds]


def cnn_runs(sizes: Scale) -> list[Run]:
    """Returns the trainings of Table I."""
    cells = []
    for network, size in CNN_UNITS.items():
        hyper = {"prior": "uniform", "units": size}
        cells += [{"network": network, **options} for options in (MAP, hyper)]
    return runs_of(sizes.seeds, *cells)


def svhn_runs(sizes: Scale) -> list[Run]:
    """Returns those of Table II."""
    cells = (MAP, {"prior": "uniform"}, {"prior": "normal"})
    on = {"network": "WRN-16-4", "dataset": "svhn_cropped"}
    return runs_of(sizes.seeds, *({**on, **cell} for cell in cells))


def imagenet_runs(sizes: Scale) -> list[Run]:
    """Returns those of Table III."""
    on = {"network": "ResNet-50", "dataset": "imagenet2012"}
    return runs_of([0], {**on, **MAP}, {**on, "prior": "uniform"})


def regularization_runs(sizes: Scale) -> list[Run]:
    """Returns those of Table IV."""
    ensembles = runs_of(range(sizes.members), MLE, MAP)
    return [*ensembles, *runs_of(sizes.seeds, {"kit": "bayesian_hypernet"}, {})]


def prior_cells() -> list[dict]:
    """Returns a cell for each prior."""
    return [{"prior": prior} for prior in PRIOR_TITLES]


def fault_runs(sizes: Scale) -> list[Run]:
    """Returns those of Table V."""
    return [*runs_of(sizes.seeds, *prior_cells()), *runs_of(range(4), MAP)]


def form_runs(sizes: Scale) -> list[Run]:
    """Returns those of Figure 6."""
    cells = [
        {"prior": prior, "sharing": sharing}
        for prior in ("normal", "uniform")
        for sharing in SHARING
    ]
    return runs_of(sizes.sharing_seeds, *cells)


def prior_runs(sizes: Scale) -> list[Run]:
    """Returns those of Figure 7."""
    return runs_of(sizes.seeds, *prior_cells(), MAP)


def unit_runs(sizes: Scale) -> list[Run]:
    """Returns those of Figure 8."""
    cells = [
        {"network": network, "prior": prior, "units": units}
        for network in ("WRN-28-4", "WRN-28-1")
        if network in sizes.networks
        for prior in ("uniform", "normal")
        for units in sizes.units
    ]
    return runs_of(sizes.unit_seeds, *cells)


def scatter_runs(sizes: Scale) -> list[Run]:
    """Returns those of Figure 9."""
    return runs_of([0], {"prior": "normal"}, {"prior": "uniform"})


def correlation_runs(sizes: Scale) -> list[Run]:
    """Returns those of section 5.6."""
    cells = [{"prior": "uniform", "sharing": sharing} for sharing in SHARING]
    return runs_of(sizes.sharing_seeds, *cells)


def no_runs(sizes: Scale) -> list[Run]:
    """Returns none: nothing is trained."""
    return []


TABLES = {
    "table1": Table("Table I: CNNs on CIFAR-10", cnns, cnn_runs),
    "table2": Table("Table II: SVHN", svhn, svhn_runs),
    "table3": Table("Table III: ImageNet", imagenet, imagenet_runs),
    "table4": Table(
        "Table IV: methods of regularization", regularization, regularization_runs
    ),
    "table5": Table("Table V: quadruple faults", faults, fault_runs),
    "figure6": Table("Figure 6: strategies and forms of averaging", forms, form_runs),
    "figure7": Table("Figure 7: priors", priors, prior_runs),
    "figure8": Table("Figure 8: hidden units", hidden_units, unit_runs),
    "figure9": Table("Figure 9: pairs of weights", scatter, scatter_runs),
    "complexity": Table("Section 5.3: complexity", complexity, no_runs),
    "correlations": Table("Section 5.6: correlations", correlations, correlation_runs),
}


def figure_path(folder: str, scale: str, name: str) -> str:
    """Returns where the figure of a table goes."""
    return os.path.join(folder, f"paper_{scale}_{name}.png")


def listing(lab: Lab, names: list[str]) -> str:
    """Returns the trainings of some tables with their recipes, and these in full."""
    users: dict[Run, list[str]] = {}
    for name in names:
        for run in TABLES[name].runs(lab.sizes):
            users.setdefault(run, []).append(name)
    rows, recipes = [], {}
    for run, tables in users.items():
        recipe = lab.recipe(run)
        recipes[recipe.name] = recipe
        decay = recipe.weight_decay if run.weight_decay is None else run.weight_decay
        rows.append(
            [
                run.name,
                str(lab.epochs(run)),
                str(lab.batch(run)),
                f"{decay:g}",
                recipe.name,
                " ".join(dict.fromkeys(tables)),
            ]
        )
    header = ["training", "epochs", "batch", "decay", "recipe", "for"]
    texts = [recipe.describe(sources=True) for recipe in recipes.values()]
    return "\n\n".join([markdown_table(header, rows), *texts])
