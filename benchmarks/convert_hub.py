"""Small configurations of KerasHub's families, for `convert_models.py`.

KerasHub is imported when a model is made, as it needs TensorFlow's text package.
"""

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

LENGTH, VOCABULARY = 8, 30


def is_installed() -> bool:
    """Returns whether KerasHub is there."""
    return importlib.util.find_spec("keras_hub") is not None


class ModelOfTable(NamedTuple):
    """A model, and what to call it with.

    Attributes:
        make: makes the model.
        inputs: makes inputs of it.
    """

    make: Callable[[], keras.Model]
    inputs: Callable[[], Any]


def _models() -> Any:
    import keras_hub

    return keras_hub.models


def _image() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(2, 16, 16, 3)).astype("float32")


def _tokens() -> dict[str, np.ndarray]:
    ids = np.random.default_rng(3).integers(1, VOCABULARY, (2, LENGTH))
    padding = np.ones((2, LENGTH), "int32")
    padding[1, 5:] = 0
    return {"token_ids": ids.astype("int32"), "padding_mask": padding}


def _segments() -> dict[str, np.ndarray]:
    return {**_tokens(), "segment_ids": np.zeros((2, LENGTH), "int32")}


TEXT = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
}
ENCODER = {**TEXT, "num_heads": 2, "max_sequence_length": LENGTH}
DECODER = {**TEXT, "num_query_heads": 2, "num_key_value_heads": 1}
PATCHES = {
    "image_shape": (16, 16, 3),
    "patch_size": 4,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
}
BLOCKS = {"stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2]}


def _resnet() -> keras.Model:
    return _models().ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 64],
        block_type="basic_block",
        image_shape=(16, 16, 3),
        **BLOCKS,
    )


def _mobilenet() -> keras.Model:
    return _models().MobileNetBackbone(
        stackwise_expansion=[[8, 8], [16]],
        stackwise_num_blocks=[2, 1],
        stackwise_num_filters=[[8, 8], [16]],
        stackwise_kernel_size=[[3, 3], [5]],
        stackwise_num_strides=[[2, 1], [1]],
        stackwise_se_ratio=[[None, None], [0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish"]],
        stackwise_padding=[[1, 1], [2]],
        output_num_filters=32,
        input_num_filters=8,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        last_layer_filter=32,
        squeeze_and_excite=0.5,
        image_shape=(16, 16, 3),
    )


def _efficientnet() -> keras.Model:
    two = [[3, 3], [1, 1], [8, 8], [8, 8], [1, 2], [1, 2], [0.25, 0.25], ["v1", "v1"]]
    names = ["kernel_sizes", "num_repeats", "input_filters", "output_filters"]
    names += ["expansion_ratios", "strides", "squeeze_and_excite_ratios", "block_types"]
    return _models().EfficientNetBackbone(
        **{f"stackwise_{name}": x for name, x in zip(names, two, strict=True)},
        stackwise_force_input_filters=[False, False],
        stackwise_nores_option=[False, False],
        width_coefficient=1.0,
        depth_coefficient=1.0,
        image_shape=(16, 16, 3),
    )


MODELS = {
    "KerasHub BERT": ModelOfTable(lambda: _models().BertBackbone(**ENCODER), _segments),
    "KerasHub BERT, text classifier": ModelOfTable(
        lambda: _models().BertTextClassifier(
            backbone=_models().BertBackbone(**ENCODER), num_classes=3
        ),
        _segments,
    ),
    "KerasHub DeiT": ModelOfTable(
        lambda: _models().DeiTBackbone(**PATCHES, intermediate_dim=16), _image
    ),
    "KerasHub DistilBERT": ModelOfTable(
        lambda: _models().DistilBertBackbone(**ENCODER), _tokens
    ),
    "KerasHub EfficientNet": ModelOfTable(_efficientnet, _image),
    "KerasHub GPT-2": ModelOfTable(lambda: _models().GPT2Backbone(**ENCODER), _tokens),
    "KerasHub GPT-2, language model": ModelOfTable(
        lambda: _models().GPT2CausalLM(backbone=_models().GPT2Backbone(**ENCODER)),
        _tokens,
    ),
    "KerasHub Gemma": ModelOfTable(
        lambda: _models().GemmaBackbone(**DECODER, head_dim=4), _tokens
    ),
    "KerasHub Gemma, language model": ModelOfTable(
        lambda: _models().GemmaCausalLM(
            backbone=_models().GemmaBackbone(**DECODER, head_dim=4)
        ),
        _tokens,
    ),
    "KerasHub MobileNet": ModelOfTable(_mobilenet, _image),
    "KerasHub ResNet": ModelOfTable(_resnet, _image),
    "KerasHub ResNet, image classifier": ModelOfTable(
        lambda: _models().ResNetImageClassifier(backbone=_resnet(), num_classes=3),
        _image,
    ),
    "KerasHub RoBERTa": ModelOfTable(
        lambda: _models().RobertaBackbone(**ENCODER), _tokens
    ),
    "KerasHub ViT": ModelOfTable(
        lambda: _models().ViTBackbone(**PATCHES, mlp_dim=16), _image
    ),
    "KerasHub ViT, image classifier": ModelOfTable(
        lambda: _models().ViTImageClassifier(
            backbone=_models().ViTBackbone(**PATCHES, mlp_dim=16), num_classes=3
        ),
        _image,
    ),
}
