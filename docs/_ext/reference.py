"""The API reference: a page for every public name, in groups by task.

`GROUPS` has each public object once, by the name that users write. Its other public
names (`tfhyper.posterior.Prediction` is `tfhyper.Prediction`) are found here, and lead
to the same page. `missing()` and `unknown()` say what `GROUPS` leaves out or invents.
"""

from __future__ import annotations

import enum
import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

import keras
from repository_pages import write_pages

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

PACKAGE = "tfhyper"

# Title, file, what the group is for, and the names behind `tfhyper.`.
GROUPS: list[tuple[str, str, str, str]] = [
    (
        "Predict and judge",
        "predict",
        "An ensemble of draws, or of networks, and what it says.",
        """PosteriorPredictor DeepEnsemble Prediction Predictions LabelsPrediction
        RegressionPrediction DistributionPrediction AnytimePrediction Rejection Draw
        predict_tiles posterior.PointNetwork evaluate comparison.ComparisonTable""",
    ),
    (
        "Shifted inputs",
        "shift",
        "Test data made worse in named ways and degrees, with known labels.",
        """shift.corrupt shift.corruptions shift.CORRUPTIONS shift.Corruption
        shift.shift_table shift.table_shifts shift.TABLE_SHIFTS""",
    ),
    (
        "Scaling of probabilities",
        "scaling",
        "Calibrated by held-out data: `fit_scaling` of a predictor, or `fit`.",
        """scaling.fit scaling.METHODS scaling.Scaling scaling.Temperature
        scaling.Vector scaling.Matrix scaling.Platt scaling.Isotonic scaling.Histogram
        scaling.CalibrationWarning""",
    ),
    (
        "Conformal prediction",
        "conformal",
        "Sets and intervals that hold the truth as often as is asked: `fit_conformal` "
        "of a predictor, or these.",
        """conformal.conformal_sets conformal.conformal_intervals conformal.fit_sets
        conformal.fit_intervals conformal.ConformalSets conformal.ConformalIntervals
        conformal.ConformalRule conformal.least_examples
        conformal.map_probabilities""",
    ),
    (
        "Foreign inputs",
        "detection",
        "Scores of how unlike the training data an input is, and tables of them.",
        """detection.Scorer detection.SCORERS detection.MaxProbability
        detection.Entropy detection.MutualInformation detection.Disagreement
        detection.MaxLogit detection.Energy detection.Mahalanobis
        detection.RelativeMahalanobis detection.NearestNeighbours
        detection.FeatureDensity detection.ViM detection.ReAct detection.DDU
        detection.DDUPrediction detection.table detection.DetectionTable
        detection.load""",
    ),
    (
        "Layers with a posterior",
        "layers",
        "Drop-ins for the layers of Keras whose kernels are drawn.",
        """layers.HyperDense layers.HyperConv1D layers.HyperConv2D layers.HyperConv3D
        layers.HyperConv2DTranspose layers.HyperDepthwiseConv2D layers.BayesDense
        layers.BayesConv1D layers.BayesConv2D layers.BayesConv3D
        layers.BayesConv2DTranspose layers.BayesDepthwiseConv2D layers.MNFDense
        layers.MNFConv2D layers.BayesHyperDense layers.BayesHyperConv2D
        layers.RankOneDense layers.RankOneConv1D layers.RankOneConv2D
        layers.RankOneConv3D
        layers.StaticHyperConv2D layers.MCDropout layers.ConcreteDropout
        layers.Dropout layers.VBLLDense
        layers.RandomFeatureGaussianProcess layers.SpectralDense layers.SpectralConv1D
        layers.SpectralConv2D layers.SpectralConv3D layers.RandomVariables""",
    ),
    (
        "Parts of layers",
        "parts",
        "Codes, generators, priors and views; what a layer of your own is made of.",
        """layers.LatentCode layers.KernelGenerator layers.scale_mixture layers.Augment
        layers.Flip layers.Shift layers.MaxUnpooling2D layers.PixelShuffle
        layers.SpectralConstraint
        layers.BicubicUpsampling2D layers.StochasticLayer layers.VariationalLayer
        layers.NoiseKind layers.give_role layers.role_of
        layers.variational_layers layers.MovingAveragesWarning
        layers.VariablePosterior layers.GaussianPosterior
        layers.GeneratedPosterior layers.BernoulliPosterior
        layers.SubspacePosterior layers.SubspacePoint""",
    ),
    (
        "Networks, kits, conversion",
        "networks",
        "Whole networks are a skeleton filled by a kit; a trained one is converted.",
        """convert conversion_report ConversionReport LayerConversion LayerKit
        kits.hyper kits.bayes kits.bayes_lora kits.mnf kits.bayesian_hypernet
        kits.mc_dropout kits.concrete_dropout kits.variational_dropout
        kits.drop_connect kits.rank_one kits.subspace kits.sngp kits.vbll
        kits.static_hypernet kits.deterministic kits.get kits.KITS
        kits.SHARING models.wide_resnet models.resnext models.pyramidnet models.resnet
        models.resnet_cifar models.lenet5 models.alexnet models.unet
        models.segnet models.deeplab_cifar models.espcn models.edsr
        models.dcgan_generator models.dcgan_discriminator
        models.residual_network models.plain_network models.NETWORKS
        models.SEGMENTERS models.SUPER_RESOLVERS""",
    ),
    (
        "A posterior of all weights",
        "variational",
        "Around any Keras model, at about the price of an optimizer.",
        """Variational variational.IVON variational.WeightNoise
        training.compile_variational_recipe KeptWeights variational.SWAGPosterior
        variational.WeightPosterior""",
    ),
    (
        "A posterior of the last layer",
        "laplace",
        "Around a trained network, from one pass over its training data.",
        """Laplace LaplacePredictor laplace.MarginalDense""",
    ),
    (
        "Generative adversarial networks",
        "gan",
        "Two networks with a posterior, trained against each other.",
        """gan.BayesianGAN data.GANBatches""",
    ),
    (
        "Distributions as outputs",
        "heads",
        "Last layers that give a distribution, and the losses that train them.",
        """heads.NormalHead heads.LaplaceHead heads.StudentTHead heads.MixtureHead
        heads.PoissonHead heads.NegativeBinomialHead heads.CategoricalHead
        heads.DistributionHead heads.VBLLRegression heads.Head
        heads.NegativeLogLikelihood heads.BetaNLL
        heads.CRPS heads.Normal heads.Laplace heads.StudentT heads.NormalMixture
        heads.Poisson heads.NegativeBinomial heads.Categorical heads.Family
        heads.RealFamily heads.LocationScale heads.CountFamily heads.Components
        heads.DrawMixture""",
    ),
    (
        "Training",
        "training",
        "Recipes, schedules of the KL divergence, and validation while it trains.",
        """training.compile_recipe training.compile_adam_recipe
        training.compile_imagenet_recipe training.PosteriorValidation
        training.PosteriorTensorBoard
        training.LinearKLWarmup training.SonderbyKLWarmup training.BlundellKL
        training.KLSchedule training.kl_divergence training.CoupledDecaySGD
        training.CoupledDecayAdam training.SmoothedCrossentropy training.step_schedule
        training.use_fast_generator training.train_ensemble training.DivergedError
        training.Recipe training.recipe_for training.RECIPES training.NAMED_RECIPES
        training.Preparation training.InitialValues""",
    ),
    (
        "Several networks of one training",
        "kept",
        "Weights kept along a training are draws: callbacks and the rates they need.",
        """training.Snapshots training.FastGeometric training.CyclicSGMCMC
        training.WeightAverage training.SWAG training.KeepWeights
        training.CosineCycles training.GeometricRate training.AveragingRate
        training.SGHMC""",
    ),
    (
        "Several devices, folders that resume",
        "devices",
        "Training over devices and machines that can be killed at any moment.",
        """training.Trainer training.make_strategy training.for_multi_worker_fit
        training.is_chief training.fit_in_workdir training.Workdir
        training.WorkdirInUseError""",
    ),
    (
        "Scores of classes and labels",
        "class-scores",
        "Functions of labels and probabilities, and metrics for `compile`.",
        """metrics.classification_report metrics.ClassificationScores metrics.error
        metrics.negative_log_likelihood metrics.brier_score
        metrics.expected_calibration_error metrics.calibration_error
        metrics.smooth_calibration_error metrics.calibration_test
        metrics.CalibrationTest metrics.bootstrap metrics.BootstrapInterval
        metrics.reliability_curve
        metrics.ReliabilityCurve metrics.top_k_accuracy metrics.top_k_error
        metrics.class_accuracy metrics.class_mean metrics.confusion_matrix
        metrics.binary_report metrics.multilabel_report metrics.MultilabelScores
        metrics.label_scores metrics.threshold_curve metrics.ThresholdCurve
        metrics.BrierScore metrics.ExpectedCalibrationError
        metrics.NegativeLogLikelihood metrics.single_draw_report metrics.fault_counts
        metrics.normalized_softplus""",
    ),
    (
        "Uncertainties and rejection",
        "uncertainty",
        "What the data and what the weights leave open; unknown and foreign inputs.",
        """metrics.predictive_entropy metrics.expected_entropy
        metrics.mutual_information metrics.disagreement metrics.variance_decomposition
        metrics.VarianceDecomposition metrics.covariance_decomposition
        metrics.CovarianceDecomposition metrics.ood_detection
        metrics.misclassification_detection metrics.rejection_threshold
        metrics.selective_report metrics.risk_coverage_curve metrics.RiskCoverageCurve
        metrics.aurc metrics.augrc metrics.risk_at_coverage metrics.coverage_at_risk
        metrics.excess_aurc metrics.sparsification_curve
        metrics.SparsificationCurve metrics.ause""",
    ),
    (
        "Scores of regressions and distributions",
        "regression-scores",
        "Errors, likelihoods, CRPS, intervals and their coverage.",
        """metrics.regression_report metrics.RegressionScores metrics.rmse
        metrics.crps_gaussian metrics.crps_mixture metrics.crps_samples
        metrics.gaussian_log_likelihood metrics.predictive_log_likelihood
        metrics.predictive_moments metrics.PredictiveMoments metrics.gaussian_interval
        metrics.sample_interval metrics.PredictiveInterval metrics.interval_coverage
        metrics.interval_width metrics.coverage_curve metrics.CoverageCurve
        metrics.pit_histogram metrics.PitHistogram metrics.pit_mixture
        metrics.pit_samples metrics.pit_coverage_curve metrics.quantile_loss
        metrics.sharpness metrics.fit_noise_variance metrics.best_constant_variance
        metrics.optimal_crps metrics.optimal_log_likelihood metrics.normalized_score
        metrics.NormalNegativeLogLikelihood metrics.NormalCRPS
        metrics.NormalCoverage""",
    ),
    (
        "Scores of maps and images",
        "map-scores",
        "Segmentation with uncertainty, and images as targets.",
        """metrics.segmentation_report metrics.intersection_over_union
        metrics.dice_score metrics.pixel_accuracy metrics.boundary_f1
        metrics.patch_counts metrics.PatchCounts metrics.psnr metrics.ssim
        metrics.luma
        metrics.frechet_distance metrics.sample_precision_recall
        metrics.PrecisionRecall metrics.mode_count""",
    ),
    (
        "Figures and analyses",
        "analysis",
        "Numbers, and the figures drawn of them (these need matplotlib).",
        """analysis.reliability_diagram analysis.extreme_examples
        analysis.prediction_plot analysis.uncertainty_map analysis.segmentation_map
        analysis.coverage_plot analysis.foreign_score_plot analysis.detection_plot
        analysis.comparison_plot
        analysis.pit_plot analysis.sparsification_plot analysis.uncertainty_error_plot
        analysis.training_curves analysis.error_curve analysis.ErrorCurve
        analysis.error_curve_plot analysis.fault_table analysis.FaultTable
        analysis.fault_plot analysis.hidden_units_plot analysis.complexity
        analysis.Complexity analysis.LayerComplexity analysis.complexity_plot
        analysis.weight_correlation analysis.WeightCorrelation
        analysis.correlation_plot analysis.weight_pairs analysis.WeightPairs
        analysis.weight_pair_plot""",
    ),
    (
        "Pruning",
        "pruning",
        "Weights and filters that a posterior shows to be of no use.",
        """pruning.prune pruning.prune_filters pruning.filters_that_stay pruning.report
        pruning.PruningReport pruning.LayerRow pruning.BeforeAfter""",
    ),
    (
        "Estimators of scikit-learn",
        "sklearn",
        "Networks and predictors behind `fit` and `predict`, and what MAPIE asks for.",
        """sklearn.Classifier sklearn.Regressor sklearn.Quantile sklearn.Spread""",
    ),
    (
        "Data",
        "data",
        "Images with the package, TensorFlow Datasets, folders, tables, texts.",
        """data.load_arrays data.load data.load_segmentation data.load_super_resolution
        data.Data data.DATASETS data.picture_pairs data.PicturePair data.read_picture
        data.reduce_picture data.repeat_batches data.DatasetSpec
        data.median_frequency_weights data.ArrayBatches
        data.language_names data.written_dates data.LabelledTexts data.DATE_PARTS
        data.encode_texts
        data.load_table data.check_table data.Table data.standardization
        data.Standardization data.split_rows data.fold_rows""",
    ),
    (
        "Saving and export",
        "export",
        "Files of predictors, and of other runtimes; the command line.",
        """saving.load_model export.saved_model export.onnx export.litert
        export.openvino export.Preprocessing export.FileReport cli.main""",
    ),
]
# Tables have no docstring of their own.
TABLES = {
    "tfhyper.kits.KITS": "The makers of kits by their names: `hyper`, `bayes`, `mnf`, "
    "`bayesian_hypernet`, `mc_dropout`, `concrete_dropout`, `variational_dropout`, "
    "`drop_connect`, `rank_one`, `subspace`, `sngp`, `vbll`, `static_hypernet`, "
    "`deterministic`.",
    "tfhyper.kits.SHARING": "The ways in which layers share codes, by the names that "
    "`tfhyper.kits.hyper` takes: `all_in_one`, `block_wise`, `layer_wise`.",
    "tfhyper.models.NETWORKS": "The networks by their names: `wide_resnet`, "
    "`resnext` and the others of this page's group.",
    "tfhyper.models.SEGMENTERS": "The networks that give a class for each pixel, by "
    "their names: `unet`, `segnet`, `deeplab_cifar`.",
    "tfhyper.models.SUPER_RESOLVERS": "The networks that enlarge pictures, by their "
    "names: `edsr`, `espcn`.",
    "tfhyper.training.RECIPES": "What each network's own study did on a data set: "
    "a `tfhyper.training.Recipe` by (network, data set).",
    "tfhyper.training.NAMED_RECIPES": "All recipes by their own names: those of "
    "`tfhyper.training.RECIPES`, and second readings of a study.",
    "tfhyper.scaling.METHODS": "The classes of `tfhyper.scaling` by the names that "
    "`fit_scaling` takes.",
    "tfhyper.detection.SCORERS": "The scorers of foreign inputs by their names, which "
    "`fit_rejection` and `tfhyper.detection.table` take.",
    "tfhyper.shift.CORRUPTIONS": "The kinds of corruption by the names that "
    "`tfhyper.shift.corrupt` takes, a `tfhyper.shift.Corruption` each.",
    "tfhyper.shift.TABLE_SHIFTS": "The shifts of tables by the names that "
    "`tfhyper.shift.shift_table` takes.",
    "tfhyper.data.DATE_PARTS": "What the labels of `written_dates` stand for: other, "
    "day, month, year, weekday.",
    "tfhyper.data.DATASETS": "What is known of each data set, a "
    "`tfhyper.data.DatasetSpec` by its name in TensorFlow Datasets.",
}
# What Keras asks of every layer, model, loss or metric, and its own pages explain.
_OF_KERAS = (
    keras.layers.Layer,
    keras.Model,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.callbacks.Callback,
)

# How the docstring of a name that goes with the next version begins.
_OLD_NAME = "Is the name of before"


@functools.cache
def public_names() -> dict[str, Any]:
    """Returns every name of every public `__all__`, dotted, with its object."""
    package = importlib.import_module(PACKAGE)
    found: dict[str, Any] = {}
    for name in package.__all__:
        if name == "__version__":
            continue
        value = getattr(package, name)
        found[f"{PACKAGE}.{name}"] = value
        if inspect.ismodule(value):
            for inner in value.__all__:
                found[f"{PACKAGE}.{name}.{inner}"] = getattr(value, inner)
    return found


@functools.cache
def listed() -> dict[str, str]:
    """Returns the file of the group of each name in `GROUPS`."""
    return {
        f"{PACKAGE}.{name}": file
        for _, file, _, names in GROUPS
        for name in names.split()
    }


@functools.cache
def aliases() -> dict[str, str]:
    """Returns the public names that are second ones, each with the listed one."""
    first = {id(public_names()[x]): x for x in listed() if x in public_names()}
    return {
        name: first[id(value)]
        for name, value in public_names().items()
        if name not in listed() and id(value) in first
    }


def missing() -> list[str]:
    """Returns the public names that have no place in the reference."""
    return [
        name
        for name, value in public_names().items()
        if name not in listed()
        and name not in aliases()
        and not inspect.ismodule(value)
    ]


def unknown() -> list[str]:
    """Returns the names in the groups that are not public, or stand there twice."""
    names = [f"{PACKAGE}.{x}" for *_, group in GROUPS for x in group.split()]
    return [x for x in names if x not in public_names() or names.count(x) > 1]


@functools.cache
def link_targets() -> dict[str, str]:
    """Returns what a `name` in a text leads to: full names, and short ones of classes.

    Short names of functions are left out, for arguments are called like them.
    """
    targets = {name: aliases().get(name, name) for name in public_names()}
    short: dict[str, set[str]] = {}
    for name, target in targets.items():
        last = name.rpartition(".")[2]
        if isinstance(public_names()[name], type):
            short.setdefault(last, set()).add(target)
        short.setdefault(name.removeprefix(f"{PACKAGE}."), set()).add(target)
    for name, found in short.items():
        dotted_or_class = "." in name or name[0].isupper()
        if len(found) == 1 and dotted_or_class:
            targets.setdefault(name, *found)
    return targets


def members(cls: type) -> list[str]:
    """Returns the documented methods and properties that tfhyper gives a class.

    Of what Keras knows (layers, losses) those that the class itself has and Keras has
    not: the rest is Keras', or for writers of layers, and on the pages of their bases.
    """
    bases = tuple(x for x in _OF_KERAS if issubclass(cls, x))
    found = []
    for name in dir(cls):
        if name.startswith("_") or any(hasattr(base, name) for base in bases):
            continue
        owner = next(x for x in cls.__mro__ if name in vars(x))
        value = vars(owner)[name]
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        is_ours = owner is cls if bases else owner.__module__.startswith(PACKAGE)
        is_method = isinstance(value, property | classmethod | staticmethod)
        text = function.__doc__ or ""
        is_told = text and not text.startswith(_OLD_NAME)
        if is_ours and is_told and (is_method or inspect.isfunction(value)):
            found.append(name)
    return found


def page(name: str) -> str:
    """Returns the page of a name."""
    value = public_names()[name]
    title = name.rpartition(".")[2]
    lines = [title, "=" * len(title), ""]
    if isinstance(value, type):
        lines += [f".. autoclass:: {name}"]
        if issubclass(value, enum.Enum):
            lines += ["   :members:", "   :undoc-members:"]
        for member in members(value):
            is_property = isinstance(inspect.getattr_static(value, member), property)
            kind = "autoproperty" if is_property else "automethod"
            lines += ["", f"   .. {kind}:: {name}.{member}"]
    elif callable(value):
        lines += [f".. autofunction:: {name}"]
    else:
        text = TABLES[name].replace("`", "``")
        lines += [f".. py:data:: {name}", "", f"   {text}", ""]
        lines += [f"   * ``{key}``" for key in _keys(value)]
    others = [f"``{x}``" for x, first in aliases().items() if first == name]
    if others:
        lines += ["", f"The same object is {' and '.join(others)}."]
    return "\n".join(lines) + "\n"


def _keys(table: dict[Any, Any]) -> list[str]:
    return [", ".join(x) if isinstance(x, tuple) else str(x) for x in table]


def first_sentence(value: Any) -> str:
    """Returns the first line of a docstring, for a list."""
    return (inspect.getdoc(value) or "").partition("\n")[0]


def group_page(title: str, file: str, purpose: str, names: str) -> str:
    """Returns the page of a group: a list of its names, each with one sentence."""
    lines = [title, "=" * len(title), "", purpose.replace("`", "``"), ""]
    lines += [".. list-table::", "   :widths: 35 65", "   :class: tfhyper-names", ""]
    full = [f"{PACKAGE}.{name}" for name in names.split()]
    from docstrings import to_rest

    for name in full:
        text = TABLES.get(name) or first_sentence(public_names()[name])
        short = name.removeprefix(f"{PACKAGE}.")
        lines += [f"   * - :doc:`{short} <{name}>`", f"     - {to_rest([text])[0]}"]
    lines += ["", ".. toctree::", "   :hidden:", ""]
    lines += [f"   {name.rpartition('.')[2]} <{name}>" for name in full]
    return "\n".join(lines) + "\n"


def modules_page() -> str:
    """Returns the page of the packages, with their docstrings."""
    lines = ["Packages", "========", ""]
    lines += ["What each package of tfhyper holds, in its own words.", ""]
    for name, value in public_names().items():
        if inspect.ismodule(value):
            # Not `automodule`: the members have pages of their own.
            lines += [name, "-" * len(name), "", f".. py:module:: {name}", ""]
            lines += [f".. tfhyper-module:: {name}", ""]
    return "\n".join(lines) + "\n"


def _write(app: Sphinx) -> None:
    if missing() or unknown():
        raise ValueError(
            "docs/_ext/reference.py must have each public name once in `GROUPS`. "
            f"Received: missing={missing()}, unknown={unknown()}"
        )
    texts = {f"api/generated/{name}": page(name) for name in listed()}
    for group in GROUPS:
        texts[f"api/generated/{group[1]}"] = group_page(*group)
    texts["api/generated/packages"] = modules_page()
    write_pages(texts, ".rst")


def _note_aliases(app: Sphinx, doctree: nodes.document) -> None:
    """Enters second names of an object at the place of the first."""
    from sphinx import addnodes

    domain = app.env.get_domain("py")
    for signature in doctree.findall(addnodes.desc_signature):
        for name in signature.get("ids", []):
            for other, first in aliases().items():
                if first == name and other not in domain.objects:
                    kind = signature.parent["objtype"]
                    domain.note_object(other, kind, name, location=signature)


def setup(app: Sphinx) -> dict[str, Any]:
    """Writes the pages before Sphinx looks for them."""
    from module_text import ModuleText

    app.add_directive("tfhyper-module", ModuleText)
    app.connect("builder-inited", _write)
    app.connect("doctree-read", _note_aliases)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
