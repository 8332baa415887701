"""The flags of commands and examples, in sets; each is defined when it is asked for.

Flags of absl belong to the process, so that importing this file defines none of them.
Nothing here imports Keras: `--help` is quick.
"""

import functools
import os

from absl import flags

from tfhyper.cli import choices

FLAGS = flags.FLAGS
# Format of an export -> what the file is called in --workdir.
FORMATS = {
    "saved_model": os.path.join("saved_model", "1"),
    "onnx": "model.onnx",
    "litert": "model.tflite",
    "openvino": "openvino",
}


@functools.cache
def define_json() -> None:
    """Defines --json."""
    flags.DEFINE_bool(
        "json",
        False,
        "Print the results as one JSON object, and all else to the error output.",
    )


@functools.cache
def define_report() -> None:
    """Defines what a report on a predictor is asked by."""
    flags.DEFINE_string(
        "workdir", "runs/train", "Folder of the training and its results."
    )
    flags.DEFINE_integer("draws", 16, "N: draws that the prediction averages over.")
    flags.DEFINE_integer("draw_seed", 0, "Seed of the draws.")
    flags.DEFINE_integer(
        "calibration_examples",
        None,
        "Training images that each draw takes its BatchNorm moments from; all by "
        "default.",
    )
    flags.DEFINE_float(
        "coverage",
        0.9,
        "Fraction of images that are to have an answer: the others are *unknown*, by "
        "the first half of the test images. 0: nothing is unknown.",
        lower_bound=0,
        upper_bound=1,
    )
    flags.DEFINE_float(
        "selective_error",
        None,
        "In place of --coverage: the fraction of wrong ones among the answers.",
        lower_bound=0,
        upper_bound=1,
    )
    flags.DEFINE_enum(
        "score",
        "total",
        choices.SCORES,
        "The uncertainty by which an image is unknown.",
    )
    flags.DEFINE_enum(
        "views",
        "auto",
        ["auto", "none", "flips"],
        "How draws see the images: flips, every second one sees their mirror images; "
        "auto: flips where several draws are of a network that was trained with them.",
    )
    flags.DEFINE_bool(
        "fit_width",
        True,
        "Choose by images held out of the training how wide learned noise is.",
    )


@functools.cache
def define_training() -> None:
    """Defines what data and a training are asked by."""
    flags.DEFINE_string(
        "dataset", "fashion_mnist_small", "A name of tfhyper.data.load."
    )
    flags.DEFINE_string("data_dir", None, "Folder of prepared TensorFlow Datasets.")
    flags.DEFINE_bool("download", False, "Download the data set if it is not there.")
    flags.DEFINE_integer(
        "train_examples", None, "First so many images; all by default."
    )
    flags.DEFINE_integer("test_examples", None, "First so many images; all by default.")
    flags.DEFINE_integer(
        "image_size", None, "Side of ImageNet's images; 224 by default."
    )
    flags.DEFINE_float(
        "color_jitter", 0.0, "Strength of the jitter of colours; 0: none."
    )
    flags.DEFINE_integer("epochs", 20, "Epochs.")
    flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
    flags.DEFINE_float("learning_rate", 0.1, "First learning rate.")
    flags.DEFINE_integer("seed", 0, "Seed of weights, noise and data order.")
    flags.DEFINE_integer(
        "keep_checkpoints", 2, "Last checkpoints to keep in --workdir.", lower_bound=1
    )
    flags.DEFINE_enum(
        "mixed_precision", "none", ["none", "bfloat16", "float16"], "Compute dtype."
    )
    flags.DEFINE_enum(
        "strategy",
        "none",
        choices.STRATEGIES,
        "Devices: one, all of this machine, or those of several (TF_CONFIG or Slurm).",
    )
    flags.DEFINE_integer(
        "logical_devices",
        None,
        "Split the CPU into so many devices, to try --strategy.",
    )
    flags.DEFINE_integer("weight_sets", 1, "Draws of each replica in a step.")
    flags.DEFINE_bool("per_replica_draws", False, "Other draws on each replica.")
    flags.DEFINE_enum(
        "batch_norm",
        choices.BATCH_NORMS[0],
        choices.BATCH_NORMS,
        "Moments on replicas.",
    )
    flags.DEFINE_integer("steps_per_call", 10, "Steps in a compiled loop.")
    flags.DEFINE_bool("fast_generator", True, "Train generators by packed gradients.")


@functools.cache
def define_network() -> None:
    """Defines what a network and its arguments are chosen by."""
    flags.DEFINE_enum(
        "network",
        "wide_resnet",
        sorted([*choices.NETWORKS, *choices.FORMER_NETWORKS]),
        "Network.",
    )
    flags.DEFINE_integer("depth", None, "Depth of the network; 10 of a wide_resnet.")
    flags.DEFINE_integer("width", None, "Width of a wide_resnet; 1 by default.")
    flags.DEFINE_float("dropout", None, "Dropout inside the blocks of a wide_resnet.")
    flags.DEFINE_string(
        "network_options",
        "",
        "Arguments of tfhyper.models.NETWORK: cardinality=8,base_width=64 or "
        "stage_blocks=(3,4,23,3).",
    )


@functools.cache
def define_train() -> None:
    """Defines the flags of `train`: those of a report, a training and a network too."""
    define_json()
    define_report()
    define_training()
    define_network()
    flags.DEFINE_enum("kit", "hyper", choices.KITS, "Layers of the network.")
    flags.DEFINE_enum(
        "sharing", "all_in_one", choices.SHARING, "Layers that share a code."
    )
    # Its old name, which folders of trainings have, too.
    flags.DEFINE_alias("code_strategy", "sharing")
    flags.DEFINE_enum("prior", "uniform", choices.PRIORS, "Prior of the codes.")
    flags.DEFINE_integer("code_units", 32, "Size of a code.")
    flags.DEFINE_integer("hidden_units", 32, "Hidden units of a generator.")
    flags.DEFINE_bool("mean_kernel", True, "Mean kernel plus generated deviation.")
    flags.DEFINE_float("deviation_scale", 0.3, "Scale of that deviation.")
    flags.DEFINE_enum(
        "recipe",
        "auto",
        ("auto", *choices.FORMER_RECIPES, *choices.RECIPES),
        "How to train; auto: as the network and the data ask.",
    )
    flags.DEFINE_float(
        "weight_decay",
        None,
        "Weight decay; the recipe's own by default. 0 is maximum likelihood.",
    )
    flags.DEFINE_bool(
        "decay_generator",
        True,
        "Decay the generators' weights too. Folders of trainings that were made "
        "without go on with --nodecay_generator.",
    )
    flags.DEFINE_bool(
        "learned_noise",
        None,
        "A Gaussian posterior of all weights beside what the kit draws, learned by "
        "IVON: see tfhyper.Variational. The rate falls by a cosine from "
        "--learning_rate, or 0.5. By default where the recipe says so and --kit=hyper; "
        "--nolearned_noise for hypernetworks as their paper trains them.",
    )
    flags.DEFINE_integer(
        "validation_examples",
        None,
        "Last so many training images, held out: they choose the width of learned "
        "noise, and what is unknown. 1000 by default with learned noise, else 0.",
        lower_bound=0,
    )
    flags.DEFINE_float(
        "temperature",
        1.0,
        "Of that posterior: below 1 it is narrower. To be chosen on validation data.",
        lower_bound=1e-6,
    )
    flags.DEFINE_bool(
        "generator_noise",
        False,
        "With --learned_noise: the weights of hypernetworks have such noise, too.",
    )
    flags.DEFINE_bool(
        "crops",
        None,
        "Crop the training images; by --nocrops they are flipped alone. By default as "
        "the recipe says.",
    )
    for name in ("batch_size", "learning_rate", "color_jitter"):
        FLAGS.set_default(name, None)
        FLAGS[name].help += " The recipe's own by default."


@functools.cache
def define_evaluate() -> None:
    """Defines the flags of `evaluate`: those of a report too."""
    define_json()
    define_report()
    flags.DEFINE_enum(
        "averaging",
        "branching",
        choices.AVERAGING,
        "Where draws are averaged: behind N networks, or inside of one.",
    )


@functools.cache
def define_export() -> None:
    """Defines the flags of `export`."""
    define_json()
    flags.DEFINE_string(
        "workdir", "runs/train", "Folder of the training and its results."
    )
    flags.DEFINE_string(
        "predictor", None, "File of a predictor of any kind, in place of --workdir."
    )
    flags.DEFINE_enum("format", "saved_model", list(FORMATS), "What to write.")
    flags.DEFINE_string(
        "output",
        None,
        "File or folder to write; one in WORKDIR, by the format, if empty. To be given "
        "with --predictor.",
    )
    flags.DEFINE_enum(
        "weights",
        "float32",
        ["float32", "float16", "int8"],
        "How onnx, litert and openvino store weights.",
    )
    flags.DEFINE_enum(
        "form",
        None,
        ["generator", "materialized"],
        "What the file holds: what kernels are made of, or the kernels of all draws. "
        "The former by default, where the posterior has it.",
    )
    flags.DEFINE_bool("overwrite", False, "Replace a SavedModel that is there.")
    flags.DEFINE_bool(
        "bytes", True, "Take uint8 images and normalise them as the training did."
    )
    flags.DEFINE_bool(
        "sampling", False, "Add the signature `sample`: fresh draws by seed."
    )
    flags.DEFINE_integer(
        "sampling_examples",
        256,
        "Training images in the file, for the BatchNorm moments of fresh draws.",
    )


@functools.cache
def define_info() -> None:
    """Defines the flags of `info`."""
    define_json()
    flags.DEFINE_bool("devices", False, "List devices too, for which Keras starts.")


@functools.cache
def define_compare() -> None:
    """Defines the flags of `compare`."""
    define_json()
    flags.DEFINE_list("methods", list(choices.METHODS), "Methods to train and compare.")
    flags.DEFINE_list("predictors", [], "Files to compare: name=path,name=path.")
    flags.DEFINE_list("seeds", ["0"], "Seeds, for each of which methods are trained.")
    flags.DEFINE_string(
        "workdir", "runs/compare", "Folder of the trainings and the results."
    )
    flags.DEFINE_string(
        "dataset", "fashion_mnist_small", "A name of tfhyper.data.load."
    )
    flags.DEFINE_string("data_dir", None, "Folder of prepared TensorFlow Datasets.")
    flags.DEFINE_bool("download", False, "Download the data set if it is not there.")
    flags.DEFINE_integer("train_examples", 3000, "First so many training images.")
    flags.DEFINE_integer(
        "validation_examples", 500, "Training images that choose temperatures instead."
    )
    flags.DEFINE_integer("test_examples", 1000, "First so many test images.")
    flags.DEFINE_integer(
        "corrupted_examples",
        100,
        "Test images that are corrupted, in 15 ways; 0 for none.",
        lower_bound=0,
    )
    flags.DEFINE_list("severities", ["1", "3", "5"], "Severities of the corruptions.")
    flags.DEFINE_integer("depth", 10, "Depth of the wide_resnet.")
    flags.DEFINE_integer("width", 1, "Width of the wide_resnet.")
    flags.DEFINE_integer("epochs", 5, "Epochs.")
    flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
    flags.DEFINE_integer("draws", 8, "Draws that predictions average over.")
    flags.DEFINE_integer("members", 3, "Networks of the ensemble.")
