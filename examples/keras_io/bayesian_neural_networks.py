"""
Title: Probabilistic Bayesian Neural Networks
Author: The tfhyper authors
Date created: 2026/11/30
Last modified: 2026/11/30
Description: Regression in Keras 3 that says how sure it is, and why.
Accelerator: None
"""

"""
## Introduction

A network that is trained as usual gives one number for a wine's quality. It does not
say how sure that number is. There are two reasons to be unsure, and they call for
different cures:

- **Aleatoric** uncertainty lies in the data: two wines with the same measurements get
  different scores. More data of the same kind do not help; more measurements might.
- **Epistemic** uncertainty lies in the weights: many networks fit the training data,
  and they differ elsewhere. More data help.

This example builds three networks for the same table: a standard one; a *Bayesian* one,
whose weights have a distribution, for the epistemic part; and a *probabilistic*
Bayesian one, which ends in a distribution, for both. It uses
[tfhyper](https://pypi.org/project/tfhyper/), whose layers are drop-ins for Keras' own
and run on TensorFlow, JAX and PyTorch.

## Setup
"""

"""shell
pip install -q tfhyper
"""

import os

# Or "tensorflow", or "torch". Set it before Keras is imported.
os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from keras import layers

import tfhyper

keras.utils.set_random_seed(0)

"""
## The data

[Wine Quality](https://www.tensorflow.org/datasets/catalog/wine_quality) has 4,898 white
wines, with 11 physical and chemical measurements each, and a score of 0 to 10 that
people gave them. We predict the score. TensorFlow Datasets reads the table; whatever
backend Keras runs on, what comes out are NumPy arrays.

To run without a download, set `WINE_QUALITY=generated` in the environment: then the
table is made up, with the same columns, and with noise that we know.
"""


def load_wines():
    """Returns measurements (wines, 11) and scores (wines,)."""
    if os.environ.get("WINE_QUALITY") == "generated":
        return generated_wines()
    import tensorflow_datasets as tfds

    table = tfds.load("wine_quality", split="train", as_supervised=True, batch_size=-1)
    features, scores = tfds.as_numpy(table)
    columns = [np.ravel(features[name]) for name in sorted(features)]
    return np.stack(columns, axis=1), np.asarray(scores, "float32")


def generated_wines(count=1200):
    """Returns a table with more noise where the first measurement is large."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(count, 11))
    mean = 6 + 0.6 * features[:, 0] - 0.5 * np.tanh(2 * features[:, 1])
    deviation = 0.2 + 0.5 / (1 + np.exp(-2 * features[:, 0]))
    return features, mean + deviation * rng.normal(size=count)


"""
A fifth of the wines is kept for the test. Measurements are standardised by the mean and
the deviation of the training wines, and so are the scores: networks and priors are made
for numbers around 0 and 1. Predictions are turned back at the end.
"""

features, scores = load_wines()
order = np.random.default_rng(1).permutation(len(scores))
test, train = np.split(order, [len(order) // 5])


def standardised(values):
    """Returns all values in units of the training wines, their mean and deviation."""
    mean, std = values[train].mean(0), values[train].std(0)
    return ((values - mean) / std).astype("float32"), mean, std


x, _, _ = standardised(features)
y, score_mean, score_std = standardised(scores)
x_train, y_train, x_test, y_test = x[train], y[train], x[test], y[test]
print(len(x_train), "wines to train on,", len(x_test), "to test")

BATCH_SIZE = 64
EPOCHS = int(os.environ.get("EPOCHS", 100))
DRAWS = 64

"""
## A standard network

Two hidden layers and one output, trained by the squared error: the point of comparison.
"""


def hidden_layers(dense, **options):
    """Returns two hidden layers of a class."""
    return [dense(32, activation="relu", **options) for _ in range(2)]


def fit(model, loss, x, y, epochs=EPOCHS):
    """Compiles and trains a model, without a word."""
    model.compile(keras.optimizers.Adam(3e-3), loss)
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return model


standard = keras.Sequential(
    [keras.Input((11,)), *hidden_layers(layers.Dense), layers.Dense(1)]
)
fit(standard, "mse", x_train, y_train)
found = np.ravel(standard.predict(x_test, verbose=0))
standard_rmse = score_std * np.sqrt(np.mean((found - y_test) ** 2))
print(f"standard network: RMSE {standard_rmse:.3f}, and no word about how sure it is")

"""
## A Bayesian network: what the weights leave open

`tfhyper.layers.BayesDense` is a `Dense` whose kernel has a normal distribution, a mean
and a deviation for each weight, learned by *Bayes by Backprop*. It adds the KL
divergence from the prior to the loss of the network. The loss of Keras is a mean over
the examples, so the KL divergence is divided by their number: `kl_weight=1 / len(x)`.
With a squared error as the loss, we say how large the noise of the scores is; `0.5 *
error / variance` is then minus the log-likelihood, up to a constant.
"""

NOISE_VARIANCE = 0.5  # of standardised scores: a first guess, found better below


@keras.saving.register_keras_serializable("wine")
def gaussian_loss(y_true, y_pred):
    """Half the squared error in units of the noise."""
    return keras.losses.mean_squared_error(y_true, y_pred) / (2 * NOISE_VARIANCE)


def bayesian_network(count):
    """Returns a network for so many training examples."""
    options = {"kl_weight": 1 / count, "prior_scale": 0.5}
    return keras.Sequential(
        [
            keras.Input((11,)),
            *hidden_layers(tfhyper.layers.BayesDense, **options),
            tfhyper.layers.BayesDense(1, **options),
        ]
    )


"""
A *draw* fixes all weights to values of their distributions: it is one plain network.
The predictor averages over many of them. Where they differ, the weights are uncertain:
that is the epistemic part. We train twice, on a small part of the wines and on all of
them.
"""

for count in (len(x_train) // 10, len(x_train)):
    # As many steps for the few as for the many.
    epochs = EPOCHS * len(x_train) // count
    model = fit(
        bayesian_network(count), gaussian_loss, x_train[:count], y_train[:count], epochs
    )
    predictor = tfhyper.PosteriorPredictor(
        model, num_draws=DRAWS, outputs="mean", noise_variance=NOISE_VARIANCE, seed=0
    )
    prediction = predictor.predict(x_test)
    rmse = score_std * np.sqrt(np.mean((prediction.mean - y_test) ** 2))
    epistemic = score_std * np.sqrt(prediction.epistemic).mean()
    print(f"{count:5} wines: RMSE {rmse:.3f}, epistemic deviation {epistemic:.3f}")

"""
The deviation of the draws is smaller with more wines: more data make the weights, and
with them the prediction, more certain. The noise of the scores, though, is one number
for all wines, and a guess at that.

## A probabilistic Bayesian network: both

The last network gives a distribution for each wine. A *head* of tfhyper is the last
layer, which makes the parameters of a distribution of what comes before; here a normal
one, whose mean and deviation depend on the wine. Its loss is the negative
log-likelihood, so nothing has to be guessed.
"""

head = tfhyper.heads.NormalHead()
options = {"kl_weight": 1 / len(x_train), "prior_scale": 0.5}
probabilistic = keras.Sequential(
    [
        keras.Input((11,)),
        *hidden_layers(tfhyper.layers.BayesDense, **options),
        tfhyper.layers.BayesDense(head.units, **options),
        head,
    ]
)
fit(probabilistic, tfhyper.heads.NegativeLogLikelihood(head), x_train, y_train)
predictor = tfhyper.PosteriorPredictor(probabilistic, num_draws=DRAWS, seed=0)
prediction = predictor.predict(x_test)

"""
The predictor has found out by the head that the outputs are distributions. What it
gives is their mixture over the draws. Its variance is the sum of two parts: the mean of
the draws' variances, the aleatoric part, and the variance of the draws' means, the
epistemic one.
"""

mean = score_mean + score_std * np.ravel(prediction.mean)
aleatoric = score_std * np.sqrt(np.ravel(prediction.aleatoric))
epistemic = score_std * np.sqrt(np.ravel(prediction.epistemic))
low, high = prediction.interval(0.95)
low = score_mean + score_std * np.ravel(low)
high = score_mean + score_std * np.ravel(high)
actual = scores[test]

print("predicted  aleatoric  epistemic  95 % interval   actual")
for i in range(10):
    print(
        f"{mean[i]:9.2f} {aleatoric[i]:10.2f} {epistemic[i]:10.2f}"
        f"   {low[i]:5.2f} to {high[i]:5.2f} {actual[i]:8.2f}"
    )

"""
## Do the intervals keep their word?

Of intervals that claim 95 %, about 95 % should hold the score that was given. And wines
of which the network is less sure should be those where it errs more.
"""

coverage = np.mean((low <= actual) & (actual <= high))
rmse = np.sqrt(np.mean((mean - actual) ** 2))
unsure = np.argsort(aleatoric**2 + epistemic**2)
half = len(unsure) // 2
errors = np.abs(mean - actual)
sure_error, unsure_error = errors[unsure[:half]].mean(), errors[unsure[half:]].mean()
print(f"RMSE {rmse:.3f}; {100 * coverage:.1f} % of the scores are in their interval")
print(f"mean error of the surer half {sure_error:.3f}, of the other {unsure_error:.3f}")

"""
A wine that is like no other should be epistemically uncertain. We take the test wines
and move their measurements far out.
"""

far = predictor.predict(x_test + 10)
far_epistemic = score_std * np.sqrt(np.ravel(far.epistemic)).mean()
print(f"epistemic deviation: here {epistemic.mean():.3f}, far out {far_epistemic:.3f}")

"""
## Keep it

A predictor is one file, with the network, the draws and the settings; it runs no code
when it is loaded, and loads on any backend.
"""

predictor.save("wine.tfhyper", overwrite=True)
again = tfhyper.PosteriorPredictor.load("wine.tfhyper").predict(x_test)
np.testing.assert_allclose(again.mean, prediction.mean, atol=1e-4)

"""
## Conclusions

- Replace `Dense` by `BayesDense`, and divide the KL divergence by the number of
  examples.
- End in a head, and the network says how noisy its answer is.
- Average over draws: `aleatoric`, `epistemic` and intervals come with the prediction.
- Look whether the intervals keep their word, on data that the training has not seen.
"""
