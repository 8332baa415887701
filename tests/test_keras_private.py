"""What the private names of Keras give, by what its public functions say."""

import inspect
import sys

import keras
import numpy as np
import pytest
from keras import ops

from tfhyper import keras_private


class Block(keras.layers.Layer):
    """A layer with another one inside, that has no `layers`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(3, name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, inputs):
        return self.inner(inputs)


class Notes:
    """What a layer notes: no list, which Keras would look after."""

    def __init__(self):
        self.all = []


class Spy(keras.layers.Layer):
    """A layer that notes what Keras says of the call in progress."""

    def __init__(self):
        super().__init__()
        self.notes = Notes()

    def call(self, inputs):
        self.notes.all.append(
            (keras_private.outermost_model(), keras_private.only_shapes())
        )
        return inputs


@pytest.fixture
def model():
    """x -> dense -> nested (relu) -> sum of it and of the dense layer's output."""
    inner = keras.Sequential([keras.Input((3,)), keras.layers.ReLU()], name="nested")
    x = keras.Input((2,), name="x")
    dense = keras.layers.Dense(3, name="dense")(x)
    return keras.Model(x, keras.layers.Add(name="sum")([dense, inner(dense)]))


def test_flatten_layers_gives_those_inside_of_layers_too():
    block = Block(name="block")
    x = keras.Input((2,), name="x")
    nested = keras.Model(x, block(x), name="nested")
    y = keras.Input((2,), name="y")
    model = keras.Model(y, nested(y), name="model")
    first, *names = [layer.name for layer in keras_private.flatten_layers(model)]
    assert first == "model"
    assert sorted(names) == ["block", "inner", "nested", "x", "y"]
    below = keras_private.flatten_layers(model, include_self=False)
    assert [layer.name for layer in below] == names
    assert keras_private.flatten_layers(block) == [block, block.inner]


def test_takes_training_is_what_the_signature_of_call_says():
    assert keras_private.takes_training(keras.layers.Dropout(0.5))
    assert not keras_private.takes_training(keras.layers.Flatten())
    x = keras.Input((2,))
    operation = keras_private.history(ops.relu(x)).operation
    assert not keras_private.takes_training(operation)


def test_variables_that_training_changes_by_nature():
    norm = keras.layers.BatchNormalization()
    norm.build((None, 3))
    norm.trainable = False  # whatever is frozen now
    found = keras_private.trained_by_nature(norm)
    assert [v.name for v in found] == ["gamma", "beta"]
    # Those of a layer inside are that layer's.
    both = keras.layers.TimeDistributed(keras.layers.Dense(2))
    both.build((None, 4, 3))
    assert not keras_private.trained_by_nature(both)
    assert len(keras_private.trained_by_nature(both.layer)) == 2


def test_a_layer_that_hands_on_takes_the_arguments_of_another():
    class HandsOn(keras.layers.Layer):
        def __init__(self, layer):
            super().__init__()
            self.layer, self.supports_masking = layer, True
            signature = inspect.signature(layer.call)
            keras_private.take_call_arguments(self, signature)

        def call(self, *args, **kwargs):
            self.given = kwargs
            return self.layer(*args, **kwargs)

    x = np.ones((2, 3, 4), "float32")
    layer = HandsOn(keras.layers.MultiHeadAttention(1, 2))
    layer.layer(x, x)
    # A tensor beside what is none, and the mode, by their names.
    found, scores = layer(
        x, x, attention_mask=np.ones((1, 3, 3), bool), return_attention_scores=True
    )
    assert (found.shape, scores.shape) == ((2, 3, 4), (2, 1, 3, 3))
    assert keras_private.takes_training(layer)
    lstm = HandsOn(keras.layers.LSTM(2))
    lstm.layer(x)
    lstm(x, mask=np.ones((2, 3), bool), training=True)
    assert lstm.given["training"] is True and lstm.given["mask"].shape == (2, 3)


def test_causal_padding_makes_the_causal_convolution_of_a_valid_one():
    x = np.random.default_rng(0).normal(size=(2, 9, 3)).astype("float32")
    causal = keras.layers.Conv1D(4, 3, dilation_rate=2, padding="causal")
    expected = ops.convert_to_numpy(causal(x))
    valid = keras.layers.Conv1D(4, 3, dilation_rate=2)
    valid.build(x.shape)
    valid.set_weights(causal.get_weights())
    padded = np.pad(x, keras_private.causal_padding(causal))
    found = ops.convert_to_numpy(valid(padded))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_functional_models_are_told_from_all_others(model):
    class Subclass(keras.Model):
        def call(self, inputs):
            return inputs

    assert keras_private.is_functional(model)
    assert keras_private.is_functional(keras.models.clone_model(model))
    others = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]), Subclass()
    assert not any(map(keras_private.is_functional, (*others, model.layers[1], None)))


def test_run_through_graph_calls_each_operation_in_order(model):
    x = np.ones((4, 2), "float32")
    names = []

    def call(operation, *args, **kwargs):
        names.append(operation.name)
        return operation(*args, **kwargs)

    found = keras_private.run_through_graph(model, ops.convert_to_tensor(x), call)
    assert names == ["dense", "nested", "sum"]
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-6)


def test_history_names_the_call_that_gave_a_tensor(model):
    operation, node, index = keras_private.history(model.output)
    assert operation is model.get_layer("sum")
    assert (node, index) == (0, 0)
    assert keras_private.history(model.input).operation is model.get_layer("x")
    first, second = ops.split(keras.Input((4,)), 2, axis=1)
    assert keras_private.history(first).tensor_index == 0
    assert keras_private.history(second).tensor_index == 1
    assert keras_private.history(ops.ones((2, 2))) is None


def test_nodes_lead_from_a_layer_to_those_before_and_behind_it(model):
    dense, last = model.get_layer("dense"), model.get_layer("sum")
    (node,) = keras_private.inbound_nodes(dense)
    assert node.operation is dense
    assert node.input_tensors[0] is model.input
    assert node.outputs[0] is dense.output
    (node,) = keras_private.inbound_nodes(last)
    assert [x is y for x, y in zip(node.input_tensors, last.input, strict=True)]
    assert list(node.arguments.args[0]) == node.input_tensors
    behind = [n.operation.name for n in keras_private.outbound_nodes(dense)]
    assert behind == ["nested", "sum"]
    assert keras_private.outbound_nodes(last) == []


def test_a_layer_has_a_node_for_each_call_of_it():
    x = keras.Input((2,))
    dense = keras.layers.Dense(2)
    twice = dense(dense(x))
    assert len(keras_private.inbound_nodes(dense)) == 2
    assert keras_private.history(twice).node_index == 1


def test_graph_nodes_are_the_calls_of_the_own_graph(model):
    nodes = keras_private.graph_nodes(model)
    names = {node.operation.name for node in nodes}
    assert names == {layer.name for layer in model.layers}
    shared = model.get_layer("dense")
    shared(keras.Input((2,)))  # a call in no graph of the model
    assert len(keras_private.inbound_nodes(shared)) == 2
    assert len(keras_private.graph_nodes(model)) == len(nodes)
    nested = model.get_layer("nested")
    inside = {node.operation.name for node in keras_private.graph_nodes(nested)}
    assert {layer.name for layer in nested.layers} < inside  # and its input
    assert keras_private.graph_nodes(shared) == []
    assert keras_private.graph_nodes(keras.Sequential([keras.layers.Dense(1)])) == []


def test_function_name_is_the_class_of_an_operation_of_keras_ops():
    x = keras.Input((2,))
    for function, name in ((ops.softmax, "Softmax"), (ops.sigmoid, "Sigmoid")):
        operation = keras_private.history(function(x)).operation
        assert keras_private.function_name(operation) == name
    assert keras_private.function_name(keras.layers.Softmax()) is None


def test_the_outermost_model_is_the_one_that_was_called():
    spy = Spy()
    inner = keras.Sequential([keras.Input((2,)), spy])
    x = keras.Input((2,))
    model = keras.Model(x, inner(x))
    spy.notes.all.clear()
    model(np.ones((1, 2), "float32"))
    spy(np.ones((1, 2), "float32"))
    assert spy.notes.all == [(model, False), (None, False)]


def test_only_shapes_are_wanted_of_a_layer_in_a_symbolic_call():
    spy = Spy()
    spy(keras.Input((2,)))
    assert {shapes for _, shapes in spy.notes.all} == {True}


def test_masks_are_those_that_keras_hands_on():
    found = []

    class Reader(keras.layers.Layer):
        supports_masking = True

        def call(self, inputs, mask=None):
            found.append((keras_private.mask_of(inputs), mask))
            return inputs

    x = np.array([[[1.0], [0.0]]], "float32")
    reader = Reader()
    reader(keras.layers.Masking()(x))
    (carried, handed), *_ = found
    np.testing.assert_array_equal(ops.convert_to_numpy(carried), [[True, False]])
    assert carried is handed
    tensor = ops.convert_to_tensor(x) + 0
    assert keras_private.mask_of(tensor) is None
    keras_private.set_mask(tensor, carried)
    assert keras_private.mask_of(tensor) is carried
    reader(tensor)
    assert found[-1][1] is carried


def test_build_for_training_makes_what_the_first_step_would():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    x, y = np.ones((4, 2), "float32"), np.ones((4, 1), "float32")
    keras_private.build_for_training(model, (x, y))
    assert model.optimizer.built
    variables = len(model.metrics_variables), len(model.optimizer.variables)
    before = model.get_weights()
    np.testing.assert_array_equal(before[0], model.layers[0].get_weights()[0])
    model.fit(x, y, verbose=0)
    assert (len(model.metrics_variables), len(model.optimizer.variables)) == variables


def test_an_optimizer_finds_the_variable_that_it_updates():
    found = []

    class Noting(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            index = keras_private.variable_index(self, variable)
            found.append((index, keras_private.trained_variable(self, variable)))
            super().update_step(gradient, variable, learning_rate)

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(Noting(), "mse", run_eagerly=True)
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    assert sorted(index for index, _ in found) == [0, 1]
    for index, variable in found:
        assert variable is model.trainable_variables[index]


def test_a_generator_shares_the_seed_that_another_one_began_with():
    class HandsOn(keras.random.SeedGenerator):
        def __init__(self, generator):
            keras_private.share_initial_seed(self, generator)
            self.name = generator.name

    generator = keras.random.SeedGenerator(7)
    generator.next()
    assert HandsOn(generator).get_config()["seed"] == 7


def test_private_modules_are_where_classes_without_a_public_name_stand(model):
    x = keras.Input((2,))
    operation = keras_private.history(ops.exp(x)).operation
    for value in (model, operation):
        config = keras.saving.serialize_keras_object(value)
        assert config["module"].startswith(keras_private.PRIVATE_MODULES)
    config = keras.saving.serialize_keras_object(keras.layers.Dense(1))
    assert not config["module"].startswith(keras_private.PRIVATE_MODULES)


def test_graphs_may_be_deeper_than_the_stack_of_python():
    inputs = x = keras.Input((1,))
    for _ in range(1100):
        x = keras.layers.Activation("linear")(x)
    with pytest.raises(RecursionError):
        keras.Model(inputs, x)
    before = sys.getrecursionlimit()
    with keras_private.deep_graphs():
        assert len(keras.Model(inputs, x).layers) == 1101
    assert sys.getrecursionlimit() == before
