"""The recipes of the studies, each number with its source.

Sources are the publications and their authors' repositories, files at the commits that
were read:

    WRN         szagoruyko/wide-residual-networks
    ResNeXt     facebookresearch/ResNeXt @1f59a2c
    PyramidNet  jhkim89/PyramidNet @27d168e
    Torch       facebookarchive/fb.resnet.torch @985e569
    BCNN        kumar-shridhar/PyTorch-BayesianCNN
    thesis      kumar-shridhar/Master-Thesis-BayesianCNN @c1f3c68
    MNF         AMLab-Amsterdam/MNF_VBNN @c24c256

Where two readings exist, one is in `RECIPES` and a note says why; the other has a name
in `NAMED_RECIPES`.
"""

import dataclasses

from tfhyper.checks import check_text
from tfhyper.training.recipe import InitialValues, Preparation, Recipe

_UKAI = (
    "Ukai, Matsubara, Uehara: Bayesian estimation and model averaging of "
    "convolutional neural networks by hypernetwork, NOLTA 2019"
)
_WRN = "Zagoruyko, Komodakis: Wide residual networks, BMVC 2016"
_RESNEXT = (
    "Xie, Girshick, Dollar, Tu, He: Aggregated residual transformations for deep "
    "neural networks, CVPR 2017"
)
_PYRAMID = "Han, Kim, Kim: Deep pyramidal residual networks, CVPR 2017"
_SHRIDHAR = (
    "Shridhar, Laumann, Liwicki: A comprehensive guide to Bayesian convolutional "
    "neural network with variational inference, 2019"
)


def _of_255(*values: float) -> tuple[float, ...]:
    return tuple(value / 255 for value in values)


_CIFAR10 = Preparation(mean=_of_255(125.3, 123.0, 113.9), std=_of_255(63.0, 62.1, 66.7))
_CIFAR100 = Preparation(
    mean=_of_255(129.3, 124.1, 112.4), std=_of_255(68.2, 65.4, 70.4)
)

# 1. Wide residual networks.
_WRN_SOURCES = {
    "batch_size": "WRN paper 3; train.lua; Ukai 4.1",
    "rates": "0.1 x 0.2: WRN paper 3, scripts/train_cifar.sh; Ukai 4.1",
    "drops": "Ukai 4.1: 40, 60 and 80 % (WRN: 30, 60 and 80 %)",
    "momentum": "Nesterov 0.9: WRN paper 3, scripts/train_cifar.sh; Ukai 4.1",
    "weight_decay": "WRN paper 3, train.lua; Ukai 4.1",
    "epochs": "Ukai 4.2, 4.3",
    "data.crop_padding": "by reflection: WRN paper 3, scripts/train_cifar.sh",
    "data.mean": "125.3, 123.0, 113.9 of 255: WRN README.md, train.lua @5e7ed6c",
    "data.std": "63.0, 62.1, 66.7 of 255: WRN README.md, train.lua @5e7ed6c",
    "initial.fan": "N(0, 2 / fan-in): WRN models/utils.lua @ea02518; He's: Ukai 4.1",
    "initial.gamma": "U(0,1), Torch's default: torch/nn BatchNormalization.lua; "
    "WRN pytorch/utils.py @8ec0177",
    "initial.classifier": "He's: Ukai 4.1; WRN pytorch/utils.py @8ec0177",
}
_WRN_NOTES = (
    "crops: the default of train.lua is padding by zeros, which the script for CIFAR "
    "overrides",
    "the momentum, which WRN restarts at each drop of the rate, goes on",
    "the last batch of an epoch may be short, as in the PyTorch folder; train.lua "
    "leaves it out",
    "gamma: Ukai 4.1 says He's method of the parameters, which says nothing of "
    "gamma; with gamma of 1 take InitialValues()",
)
_WRN_CIFAR10 = Recipe(
    name="wrn-cifar10",
    study=f"{_UKAI}, after {_WRN}",
    epochs=800,
    batch_size=128,
    optimizer="sgd",
    rates=(0.1, 0.02, 0.004, 0.0008),
    drops=(0.4, 0.6, 0.8),
    weight_decay=5e-4,
    data=dataclasses.replace(_CIFAR10, crop_padding="reflect"),
    initial=InitialValues("in", "uniform", "he"),
    sources=_WRN_SOURCES,
    notes=(
        *_WRN_NOTES,
        "drops: those of Ukai 4.1 come first, the study's own are wrn-original",
    ),
)
_WRN_ORIGINAL = dataclasses.replace(
    _WRN_CIFAR10,
    name="wrn-original",
    study=_WRN,
    epochs=200,
    drops=(0.3, 0.6, 0.8),
    sources={
        **_WRN_SOURCES,
        "epochs": "WRN paper 3, scripts/train_cifar.sh",
        "drops": "epochs 60, 120 and 160 of 200: WRN paper 3, scripts/train_cifar.sh",
    },
    notes=(
        *_WRN_NOTES,
        "drops: train.lua drops the rate as epoch 60 of 1 ... 200 begins, after 59",
    ),
)
_OURS = "benchmarks/one_training.py --setting=fashion, by held-out images"
_WRN_EMBEDDED = dataclasses.replace(
    _WRN_CIFAR10,
    name="wrn-embedded",
    study="tfhyper's own, for the images that come with it",
    epochs=20,
    data=Preparation(crop_padding="none"),
    initial=None,
    learned_noise=True,
    sources={
        **{
            name: f"as wrn-cifar10: {_WRN_SOURCES[name]}"
            for name in ("batch_size", "rates", "drops", "momentum", "weight_decay")
        },
        "epochs": "a few minutes of two cores",
        "data.crop_padding": f"{_OURS}, beside those of --setting=fashion_crops",
        "learned_noise": _OURS,
    },
    notes=(
        "rates and momentum are those of SGD: with learned noise "
        "compile_variational_recipe has its own",
    ),
)
_WRN_CIFAR100 = dataclasses.replace(
    _WRN_ORIGINAL,
    name="wrn-cifar100",
    notes=(
        *_WRN_ORIGINAL.notes,
        "normalised by the numbers of CIFAR-10, as train.lua does",
    ),
)
_WRN_SVHN = dataclasses.replace(
    _WRN_CIFAR10,
    name="wrn-svhn",
    study=f"{_WRN}, as Ukai 4.3 says",
    epochs=160,
    rates=(0.01, 0.001, 0.0001),
    drops=(0.5, 0.75),
    data=Preparation(
        augment=False,
        mean=(0.0,),
        std=(1.0,),
        train_split="train+extra",
    ),
    sources={
        **{k: v for k, v in _WRN_SOURCES.items() if not k.startswith("data")},
        "epochs": "WRN paper 3, scripts/train_svhn.sh @5ed3b72",
        "rates": "0.01 x 0.1: WRN paper 3, scripts/train_svhn.sh @5ed3b72",
        "drops": "epochs 80 and 120 of 160: WRN paper 3, scripts/train_svhn.sh",
        "momentum": "Nesterov 0.9: WRN paper 3, train.lua",
        "weight_decay": "WRN paper 3, train.lua",
        "batch_size": "WRN paper 3, train.lua",
        "data.augment": "none: WRN paper 3, scripts/train_svhn.sh @5ed3b72",
        "data.mean": "divided by 255, nothing else: WRN paper 3",
        "data.std": "divided by 255, nothing else: WRN paper 3",
        "data.train_split": "about 600,000 digits: WRN paper 3",
    },
    notes=(
        *_WRN_NOTES[1:],
        "dropout: WRN's script always sets 0.4 (1.64 % of error against 1.85 %), and "
        "Ukai does not mention it; the MAP of 1.90 % is that without. With it: "
        "wrn-svhn-dropout",
    ),
)
_WRN_SVHN_DROPOUT = dataclasses.replace(
    _WRN_SVHN,
    name="wrn-svhn-dropout",
    network_options={"dropout": 0.4},
    sources={
        **_WRN_SVHN.sources,
        "network_options": "0.4: WRN paper 3, scripts/train_svhn.sh @5ed3b72",
    },
)

# 2. ResNeXt.
_RESNEXT_CIFAR10 = Recipe(
    name="resnext-cifar10",
    study=f"{_RESNEXT}; for so many epochs as Ukai 4.3",
    epochs=900,
    batch_size=128,
    optimizer="sgd",
    rates=(0.1, 0.01, 0.001),
    drops=(0.5, 0.75),
    weight_decay=5e-4,
    rate_per_batch=True,
    data=_CIFAR10,
    initial=InitialValues("out", "ones", "uniform"),
    sources={
        "epochs": "Ukai 4.3; 300 in ResNeXt paper, appendix A",
        "batch_size": "ResNeXt paper, appendix A; README.md @d83ef45",
        "rates": "0.1 x 0.1: ResNeXt paper, appendix A",
        "rate_per_batch": "64 with 0.05, 32 with 0.025: ResNeXt README.md @d83ef45",
        "drops": "150 and 225 of 300: ResNeXt paper, appendix A",
        "momentum": "Nesterov 0.9: ResNeXt train.lua, opts.lua @833a384",
        "weight_decay": "ResNeXt README.md; the default of opts.lua is 1e-4",
        "data.crop_padding": "zeros after normalising: ResNeXt datasets/transforms.lua",
        "data.mean": "125.3, 123.0, 113.9 of 255: ResNeXt datasets/cifar10.lua",
        "data.std": "63.0, 62.1, 66.7 of 255: ResNeXt datasets/cifar10.lua",
        "initial.fan": "N(0, 2 / fan-out): ResNeXt models/resnext.lua @833a384",
        "initial.gamma": "1: ResNeXt models/resnext.lua @833a384",
        "initial.classifier": "U(+-1 / sqrt(inputs)): torch/nn Linear.lua @033659a",
    },
    notes=(
        "read by Ukai 4.3, 'the hyperparameters were the same as in the original "
        "studies, except for the training epochs'; by 4.1 it is resnext-cifar10-4.1",
        "train.lua drops the rate as 0.49 and 0.74 of the epochs have passed",
        "the study's BatchNorm saw 16 images at a time, of 128 on eight devices",
    ),
)
_RESNEXT_CIFAR100 = dataclasses.replace(
    _RESNEXT_CIFAR10,
    name="resnext-cifar100",
    study=_RESNEXT,
    epochs=300,
    data=_CIFAR100,
    sources={
        **_RESNEXT_CIFAR10.sources,
        "epochs": "ResNeXt paper, appendix A",
        "data.mean": "129.3, 124.1, 112.4 of 255: ResNeXt datasets/cifar100.lua",
        "data.std": "68.2, 65.4, 70.4 of 255: ResNeXt datasets/cifar100.lua",
    },
    notes=_RESNEXT_CIFAR10.notes[1:],
)

# 3. PyramidNet.
_PYRAMID_CIFAR10 = Recipe(
    name="pyramidnet-cifar10",
    study=f"{_PYRAMID}; for so many epochs as Ukai 4.3",
    epochs=600,
    batch_size=128,
    optimizer="sgd",
    rates=(0.1, 0.01, 0.001),
    drops=(0.5, 0.75),
    weight_decay=1e-4,
    rate_per_batch=True,
    data=_CIFAR10,
    initial=InitialValues("out", "ones", "uniform"),
    sources={
        "epochs": "Ukai 4.3; 300 in PyramidNet README.md @27d168e",
        "batch_size": "PyramidNet README.md @27d168e",
        "rates": "0.1 x 0.1: PyramidNet README.md @27d168e",
        "rate_per_batch": "32 with 0.025: dyhan0920/PyramidNet-PyTorch @5a0b32f",
        "drops": "150 and 225 of 300: PyramidNet README.md @27d168e",
        "momentum": "Nesterov 0.9: Torch opts.lua, train.lua @f9f325d",
        "weight_decay": "PyramidNet README.md @27d168e; Torch opts.lua",
        "data.crop_padding": "zeros after normalising: Torch datasets/cifar10.lua",
        "data.mean": "125.3, 123.0, 113.9 of 255: Torch datasets/cifar10.lua",
        "data.std": "63.0, 62.1, 66.7 of 255: Torch datasets/cifar10.lua",
        "initial.fan": "N(0, 2 / fan-out): PyramidNet addpyramidnet.lua @a21c834",
        "initial.gamma": "1: PyramidNet addpyramidnet.lua @a21c834",
        "initial.classifier": "U(+-1 / sqrt(inputs)): torch/nn Linear.lua @033659a",
    },
    notes=(
        "read by Ukai 4.3, 'the hyperparameters were the same as in the original "
        "studies, except for the training epochs'; by 4.1 it is "
        "pyramidnet-cifar10-4.1. The MAP of 4.59 % fits the study's 4.62 %",
        "dyhan0920/PyramidNet-PyTorch train.py pads before normalising, with black: "
        "Preparation(crop_padding='black')",
    ),
)
_PYRAMID_CIFAR100 = dataclasses.replace(
    _PYRAMID_CIFAR10,
    name="pyramidnet-cifar100",
    study=_PYRAMID,
    epochs=300,
    rates=(0.5, 0.05, 0.005),
    rate_per_batch=False,
    sources={
        **_PYRAMID_CIFAR10.sources,
        "epochs": "PyramidNet README.md @27d168e",
        "rates": "0.5 x 0.1: PyramidNet README.md @27d168e",
    },
    data=Preparation(),
    notes=(*_PYRAMID_CIFAR10.notes[1:], "normalised by the set's own numbers"),
)


def _by_section_4_1(recipe: Recipe) -> Recipe:
    """Returns a recipe with what section 4.1 of the hypernetworks' paper says."""
    changed = ("rates", "drops", "weight_decay", "momentum")
    return dataclasses.replace(
        recipe,
        name=f"{recipe.name}-4.1",
        study=f"{_UKAI}, read by section 4.1",
        rates=_WRN_CIFAR10.rates,
        drops=_WRN_CIFAR10.drops,
        weight_decay=_WRN_CIFAR10.weight_decay,
        data=_WRN_CIFAR10.data,
        sources={
            **recipe.sources,
            **{name: "Ukai 4.1" for name in changed},
            "data.crop_padding": "'in accordance with' WRN: Ukai 4.1",
        },
        notes=(f"read by Ukai 4.1; by 4.3 it is {recipe.name}",),
    )


# 4. ResNet-50 on ImageNet.
_IMAGENET = Recipe(
    name="resnet-imagenet",
    study="fb.resnet.torch, the reference code in Torch of He et al., CVPR 2016",
    epochs=90,
    batch_size=256,
    optimizer="sgd",
    rates=(0.1, 0.01, 0.001),
    drops=(1 / 3, 2 / 3),
    weight_decay=1e-4,
    rate_per_batch=True,
    data=Preparation(color_jitter=0.4, resize_method="bicubic"),
    initial=InitialValues("out", "ones", "uniform"),
    sources={
        "epochs": "Torch opts.lua @f9f325d",
        "batch_size": "Torch README.md; the default of opts.lua is 32",
        "rates": "0.1 x 0.1: Torch train.lua, opts.lua @f9f325d",
        "rate_per_batch": "Goyal et al., 2017, section 2.1",
        "drops": "after 30 and 60 of 90: Torch train.lua @f9f325d",
        "momentum": "Nesterov 0.9: Torch opts.lua @f9f325d",
        "weight_decay": "Torch opts.lua @f9f325d",
        "data.color_jitter": "0.4 each: Torch datasets/imagenet.lua @6f9402d",
        "data.resize_method": "Torch datasets/transforms.lua @b1d2f7a",
        "initial.fan": "N(0, 2 / fan-out): Torch models/resnet.lua @f9f325d",
        "initial.gamma": "1: Torch models/resnet.lua @f9f325d",
        "initial.classifier": "U(+-1 / sqrt(inputs)): torch/nn Linear.lua @033659a",
    },
    notes=(
        "windows of 8 ... 100 % of the area and of 3/4 ... 4/3, and lighting of 0.1, "
        "are what tfhyper.data.load does for ImageNet",
        "Ukai 4.3 says 'as in the original studies': the MAP of 23.84 / 7.06 % is "
        "near this code's 24.01 / 7.02 %. He et al.'s own is resnet-imagenet-he",
    ),
)
_IMAGENET_HE = dataclasses.replace(
    _IMAGENET,
    name="resnet-imagenet-he",
    study="He, Zhang, Ren, Sun: Deep residual learning, CVPR 2016, section 3.4",
    rates=(0.1, 0.01, 0.001, 0.0001),
    drops=(1 / 3, 2 / 3, 8 / 9),
    nesterov=False,
    data=Preparation(),
    sources={
        **{k: v for k, v in _IMAGENET.sources.items() if not k.startswith("data")},
        "epochs": "Goyal et al., 2017, 5.1, in place of He's up to 600,000 steps",
        "batch_size": "He et al. 3.4",
        "rates": "0.1 / 10 at plateaus: He et al. 3.4",
        "drops": "30, 60, 80 of 90: Goyal et al. 5.1, in place of He's plateaus",
        "momentum": "0.9: He et al. 3.4",
        "weight_decay": "He et al. 3.4",
    },
    notes=(
        "He et al. cut 224 x 224 out of images with a shorter side of 256 ... 480, "
        "and test ten crops; here windows and the centre are those of the Torch code",
    ),
)

# 5. Bayesian CNNs.
_BAYESIAN_CNN = Recipe(
    name="bayesian-cnn",
    study=_SHRIDHAR,
    epochs=100,
    batch_size=256,
    optimizer="adam",
    rates=(0.001,),
    drops=(),
    weight_decay=5e-4,
    kl="blundell",
    initial=None,
    data=Preparation(augment=False, mean=(0.0,), std=(1.0,)),
    sources={
        "epochs": "thesis Appendix1/appendix1.tex",
        "batch_size": "thesis Appendix1/appendix1.tex",
        "rates": "thesis Appendix1/appendix1.tex",
        "weight_decay": "thesis Appendix1/appendix1.tex; inside Adam, of all "
        "parameters: BCNN old_files/main_Bayes_old.py @5147e55",
        "kl": "Blundell's: thesis Appendix1/appendix1.tex",
        "data.augment": "none is mentioned in the thesis; BCNN mirrors CIFAR, and the "
        "test images with it, data/data.py @c6a97d7",
        "data.mean": "0 ... 1: BCNN config_bayesian.py @3bb7923",
        "data.std": "0 ... 1: BCNN config_bayesian.py @3bb7923",
    },
    notes=(
        "the thesis comes first, as it is what was published; the settings of the "
        "last code are bayesian-cnn-code, those that compile_adam_recipe has differ "
        "in a rate that falls linearly",
        "images are 0 ... 1; the code of 2018 has ImageNet's mean and deviation",
        "the thesis resizes MNIST to 32 x 32, and has 10 to 25 draws in a step: here "
        "the images stay as they are, and a step has one draw (Trainer's weight_sets)",
        "the decay leaves the parameters of posteriors out, as their prior is in the "
        "KL divergence",
    ),
)
_BAYESIAN_CNN_CODE = dataclasses.replace(
    _BAYESIAN_CNN,
    name="bayesian-cnn-code",
    study=f"{_SHRIDHAR}: the last code",
    epochs=200,
    weight_decay=0.0,
    kl=0.1,
    kit_options={"prior_scale": 0.1},
    sources={
        **_BAYESIAN_CNN.sources,
        "epochs": "BCNN config_bayesian.py @3bb7923",
        "batch_size": "BCNN config_bayesian.py @3bb7923",
        "rates": "BCNN config_bayesian.py @3bb7923",
        "weight_decay": "none: BCNN main_bayesian.py @b9af81a",
        "kl": "0.1: BCNN config_bayesian.py @3bb7923",
        "kit_options": "N(0, 0.1^2): BCNN config_bayesian.py @3bb7923",
    },
    notes=(
        "the rate falls on plateaus of the loss of 20 % of the images, which are held "
        "out: add keras.callbacks.ReduceLROnPlateau(patience=6) for that",
        "the code divides by all 50,000 images where it trains on 40,000, and its KL "
        "divergence has its arguments swapped; here it is KL(q || p) / N",
        "the code's first posterior is mean N(0, 0.1) and rho N(-5, 0.1): kits.bayes("
        "kernel_initializer=normal(0, 0.1), rho_initializer=normal(-5, 0.1)) with "
        "normal = keras.initializers.RandomNormal",
    ),
)

# 6. Multiplicative normalizing flows.
_MNF = Recipe(
    name="mnf",
    study="Louizos, Welling: Multiplicative normalizing flows for variational "
    "Bayesian neural networks, ICML 2017",
    epochs=100,
    batch_size=100,
    optimizer="adam",
    rates=(0.001,),
    drops=(),
    weight_decay=0.0,
    kl=1.0,
    initial=None,
    data=Preparation(augment=False),
    kit_options={"num_flows": 2, "flow_width": 50, "prior_scale": 1.0},
    sources={
        "epochs": "MNF mnf_lenet_mnist.py",
        "batch_size": "MNF mnf_lenet_mnist.py",
        "rates": "MNF mnf_lenet_mnist.py",
        "weight_decay": "none: MNF mnf_lenet_mnist.py",
        "kl": "KL / N, no annealing by default: MNF mnf_lenet_mnist.py",
        "kit_options": "2 flows of 50 units in q, prior N(0,1): MNF conv_layers.py, "
        "dense_layers.py",
        "data.augment": "none: MNF mnf_lenet_mnist.py",
        "data.mean": "the scale of the images was not seen; the set's own",
        "data.std": "the scale of the images was not seen; the set's own",
    },
    notes=(
        "an epoch has 500 batches drawn with replacement from 50,000 images, here "
        "each image once; 10,000 are held out: train_examples=50000",
        "the network has 20, 50 and 500 units and ReLU after pooling, and 100 draws "
        "at test",
    ),
)

# 7. Static hypernetworks.
_HYPERNETWORKS = Recipe(
    name="hypernetworks",
    study="Ha, Dai, Le: HyperNetworks, ICLR 2017, WRN-40-2 on CIFAR-10",
    epochs=1911,
    batch_size=128,
    optimizer="adam",
    rates=(0.002, 0.001, 0.0002, 0.00005),
    drops=(0.25, 0.5, 0.75),
    weight_decay=5e-6,
    kernel_decay=5e-6,
    initial=None,
    data=_CIFAR10,
    kit_options={"block": 16, "embedding_units": 64, "hidden_units": 64},
    sources={
        "epochs": "672,000 steps of 128 of 45,000 images: paper A.3.2",
        "batch_size": "paper A.3.2",
        "rates": "paper A.3.2, tables 8 and 9",
        "drops": "168k, 336k and 504k of 672k steps: paper A.3.2",
        "weight_decay": "printed as 0.0005 %: paper A.3.2",
        "kernel_decay": "also on the generated kernels: paper A.3.2",
        "kit_options": "paper 3.1, A.3.2",
        "data.crop_padding": "padded to 36, with what is not said: paper A.3.2",
        "data.mean": "not stated; WRN's",
        "data.std": "not stated; WRN's",
    },
    notes=("the study holds 5,000 images out: train_examples=45000",),
)

#: (network, data set) -> recipe. Networks are named as in `tfhyper.models.NETWORKS`.
RECIPES: dict[tuple[str, str], Recipe] = {
    ("wide_resnet", "cifar10"): _WRN_CIFAR10,
    ("wide_resnet", "cifar100"): _WRN_CIFAR100,
    ("wide_resnet", "svhn_cropped"): _WRN_SVHN,
    ("wide_resnet", "fashion_mnist_small"): _WRN_EMBEDDED,
    ("resnext", "cifar10"): _RESNEXT_CIFAR10,
    ("resnext", "cifar100"): _RESNEXT_CIFAR100,
    ("pyramidnet", "cifar10"): _PYRAMID_CIFAR10,
    ("pyramidnet", "cifar100"): _PYRAMID_CIFAR100,
    ("resnet", "imagenet2012"): _IMAGENET,
    **{
        (network, dataset): _BAYESIAN_CNN
        for network in ("lenet5", "alexnet")
        for dataset in ("mnist", "cifar10", "cifar100")
    },
}
#: (network, kit) -> the data set and the recipe of the kit's own study, which comes
#: before `RECIPES`.
_BY_KIT = {
    ("lenet5", "mnf"): ("mnist", _MNF),
    ("wide_resnet", "static_hypernet"): ("cifar10", _HYPERNETWORKS),
}

#: Name -> recipe, also of the second readings.
NAMED_RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        *dict.fromkeys(RECIPES.values()),
        *(recipe for _, recipe in _BY_KIT.values()),
        _WRN_ORIGINAL,
        _WRN_SVHN_DROPOUT,
        _by_section_4_1(_RESNEXT_CIFAR10),
        _by_section_4_1(_PYRAMID_CIFAR10),
        _IMAGENET_HE,
        _BAYESIAN_CNN_CODE,
    )
}


def recipe_for(network: str, dataset: str, kit: str | None = None) -> Recipe:
    """Returns the recipe for a network and a data set.

    Where nothing is known of the two, it is the recipe of the network on another set
    (first CIFAR-10), or that of wide residual networks on CIFAR-10, with the images
    prepared as a study of that set prepared them, or normalised by the set's own mean
    and deviation; all networks on ImageNet take that of ResNet-50. `stands_in_for`
    then says so, and so does `describe()`.

    Args:
        network: of `tfhyper.models.NETWORKS`, or any other name.
        dataset: a name of `tfhyper.data.load`.
        kit: of `tfhyper.kits.KITS`: LeNet-5 with `"mnf"` and wide residual networks
            with `"static_hypernet"` have recipes of their own.

    Raises:
        TypeError: for names that are not text.

    Example:

    >>> print(tfhyper.training.recipe_for("resnet_cifar", "svhn_cropped").describe())
    wrn-cifar10: ... (as nothing is known of resnet_cifar on svhn_cropped)
    """
    check_text("network", network)
    check_text("dataset", dataset)
    if kit is not None:
        check_text("kit", kit)
    home, found = _BY_KIT.get(
        (network, kit or ""), (dataset, RECIPES.get((network, dataset)))
    )
    if found is not None and home == dataset:
        return found
    if dataset == "imagenet2012":
        return dataclasses.replace(_IMAGENET, stands_in_for=(network, dataset))
    if found is None:
        of_network = [
            recipe for (name, _), recipe in RECIPES.items() if name == network
        ]
        found = RECIPES.get((network, "cifar10"), [*of_network, _WRN_CIFAR10][0])
    preparation = found.data
    # Statistics are of one set; one number for all channels is no statistic.
    if preparation.mean is not None and len(preparation.mean) > 1:
        preparation = dataclasses.replace(preparation, mean=None, std=None)
    preparation = dataclasses.replace(preparation, color_jitter=0.0, train_split=None)
    # Of studies alone: what we found for one network is no rule for others.
    of_set = [
        recipe.data
        for (_, name), recipe in RECIPES.items()
        if name == dataset and recipe is not _WRN_EMBEDDED
    ]
    return dataclasses.replace(
        found, data=[*of_set, preparation][0], stands_in_for=(network, dataset)
    )
