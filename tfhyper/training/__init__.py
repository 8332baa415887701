"""Training: recipes, optimizers, schedules, loops over devices and machines."""

from tfhyper.divergence import DivergedError
from tfhyper.training.cyclic_rates import (
    AveragingRate,
    CosineCycles,
    GeometricRate,
)
from tfhyper.training.cyclic_sg_mcmc import SGHMC, CyclicSGMCMC
from tfhyper.training.fast_generator import use_fast_generator
from tfhyper.training.fit_in_workdir import fit_in_workdir
from tfhyper.training.folder_lock import WorkdirInUseError
from tfhyper.training.keep_moments import SWAG, WeightAverage
from tfhyper.training.keep_sets import FastGeometric, Snapshots
from tfhyper.training.keep_weights import KeepWeights
from tfhyper.training.kl import (
    BlundellKL,
    KLSchedule,
    LinearKLWarmup,
    SonderbyKLWarmup,
    kl_divergence,
)
from tfhyper.training.losses import SmoothedCrossentropy
from tfhyper.training.multi_worker_fit import for_multi_worker_fit
from tfhyper.training.optimizers import CoupledDecayAdam, CoupledDecaySGD
from tfhyper.training.posterior_tensorboard import PosteriorTensorBoard
from tfhyper.training.posterior_validation import PosteriorValidation
from tfhyper.training.recipe import InitialValues, Preparation, Recipe
from tfhyper.training.recipe_table import NAMED_RECIPES, RECIPES, recipe_for
from tfhyper.training.recipes import (
    compile_adam_recipe,
    compile_imagenet_recipe,
    compile_recipe,
    compile_variational_recipe,
)
from tfhyper.training.schedules import step_schedule
from tfhyper.training.strategies import is_chief, make_strategy
from tfhyper.training.train_ensemble import train_ensemble
from tfhyper.training.trainer import Trainer
from tfhyper.training.workdir import Workdir
from tfhyper.variational.ivon import IVON

__all__ = [
    "AveragingRate",
    "BlundellKL",
    "CosineCycles",
    "CoupledDecayAdam",
    "CoupledDecaySGD",
    "CyclicSGMCMC",
    "DivergedError",
    "FastGeometric",
    "GeometricRate",
    "IVON",
    "InitialValues",
    "KLSchedule",
    "KeepWeights",
    "LinearKLWarmup",
    "NAMED_RECIPES",
    "PosteriorTensorBoard",
    "PosteriorValidation",
    "Preparation",
    "RECIPES",
    "Recipe",
    "SGHMC",
    "SWAG",
    "SmoothedCrossentropy",
    "Snapshots",
    "SonderbyKLWarmup",
    "Trainer",
    "WeightAverage",
    "Workdir",
    "WorkdirInUseError",
    "compile_adam_recipe",
    "compile_imagenet_recipe",
    "compile_recipe",
    "compile_variational_recipe",
    "fit_in_workdir",
    "for_multi_worker_fit",
    "is_chief",
    "kl_divergence",
    "make_strategy",
    "recipe_for",
    "step_schedule",
    "train_ensemble",
    "use_fast_generator",
]
