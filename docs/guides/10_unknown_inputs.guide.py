# %% [markdown]
# # Unknown inputs: when the network should not answer
#
# **You will** choose from where on a prediction is *unknown*, see how many foreign
# images the rule rejects, and learn which of the uncertainties finds which of them.
#
# *Time:* about a minute on one core. *Data:* a part of Fashion-MNIST, which comes
# with the package; foreign images are made of it.

# %%
import keras
import matplotlib.pyplot as plt
import numpy as np

import tfhyper
from tfhyper import metrics

keras.utils.set_random_seed(0)
(x_train, y_train), (x_all, y_all) = tfhyper.data.load_arrays("fashion_mnist_small")
x_train, y_train = x_train[:4000], y_train[:4000]
x_val, y_val, x_test, y_test = x_all[:1250], y_all[:1250], x_all[1250:], y_all[1250:]

options = {
    "kl_weight": 1 / len(x_train),
    "prior_scale": 0.3,
    "initial_scale": 0.3,
    "estimator": "local_reparameterization",
}
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        tfhyper.layers.BayesConv2D(6, 5, activation="relu", **options),
        keras.layers.MaxPooling2D(),
        tfhyper.layers.BayesConv2D(12, 5, activation="relu", **options),
        keras.layers.MaxPooling2D(),
        keras.layers.Flatten(),
        tfhyper.layers.BayesDense(10, **options),
    ]
)
model.compile(
    keras.optimizers.Adam(0.005),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
model.fit(x_train, y_train, batch_size=64, epochs=6, verbose=0)
predictor = tfhyper.PosteriorPredictor(model, num_draws=16)

# %% [markdown]
# ## A rule, chosen on data that trained nothing
#
# Either by coverage, the fraction that should keep its answer, or by the error that you
# allow among the answers. Here: an error of at most 5 %.

# %%
print("error without a rule", round(predictor.evaluate(x_test, y_test)["error"], 3))
predictor.fit_rejection(x_val, y_val, error=0.05)
scores = predictor.evaluate(x_test, y_test)
coverage, selective = scores["coverage"], scores["selective_error"]
print(f"answered {coverage:.3f}, error among these {selective:.3f}")
prediction = predictor.predict(x_test)
print("labels, -1 is unknown:", prediction.label[:12])

# %%
wrong = (prediction.mean.argmax(-1) != y_test).astype("float64")
curve = metrics.risk_coverage_curve(wrong, prediction.total)
fig, axes = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
axes.plot(curve.coverage, curve.risk)
axes.plot(scores["coverage"], scores["selective_error"], "o", label="the rule")
axes.axhline(0.05, color="0.5", linestyle="--", linewidth=1)
axes.set(xlabel="Images that are answered", ylabel="Error among these", ylim=(0, None))
axes.legend(frameon=False)
plt.show()

# %% [markdown]
# ## Images of another kind
#
# The rule was chosen on clothes. What does it do with turned and inverted clothes, with
# shuffled pixels, with noise?

# %%
rng = np.random.default_rng(0)
shuffled = x_test.reshape(len(x_test), -1)[:, rng.permutation(784)].reshape(
    x_test.shape
)
low, high = x_test.min(), x_test.max()
foreign = {
    "turned by 90°": np.rot90(x_test, axes=(1, 2)).copy(),
    "inverted": high + low - x_test,
    "shuffled pixels": shuffled,
    "uniform noise": rng.uniform(low, high, x_test.shape).astype("float32"),
}
found = {name: predictor.predict(x) for name, x in foreign.items()}
print(f"{'':16} rejected   auroc: total  epistemic  aleatoric")
auroc = {}
for name, x in found.items():
    auroc[name] = {
        kind: metrics.ood_detection(getattr(prediction, kind), getattr(x, kind))[
            "auroc"
        ]
        for kind in ("total", "epistemic", "aleatoric")
    }
    numbers = "  ".join(f"{value:9.3f}" for value in auroc[name].values())
    print(f"{name:16} {x.rejected.mean():8.2f}   {numbers}")

# %%
fig, panels = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
groups = {"test images": prediction, **found}
for axes, kind in zip(panels, ("epistemic", "total"), strict=True):
    values = [getattr(x, kind) for x in groups.values()]
    axes.boxplot(values, orientation="horizontal", showfliers=False)
    axes.set(xlabel=f"{kind.capitalize()} uncertainty, nats")
panels[0].set_yticks(range(1, len(groups) + 1), groups)
panels[0].invert_yaxis()
plt.show()

# %% [markdown]
# No uncertainty finds everything, and none is the best for all: on noise the draws
# agree that it could be anything, so that the total finds it; turned and shuffled
# clothes are things of which the draws disagree. What a network says of an input unlike
# all it has seen is not determined by any data, so *look*: take foreign inputs like
# those that you expect, and measure. A rejection rule promises its coverage or error
# for data like those it was chosen on, and for nothing else.
#
# ## What this page claims
#
# The error among the answers is 5 % within two points; of each kind of foreign images,
# the rule rejects more than of the test images; turned and shuffled images are told
# from test images better by the epistemic part than by the total, and noise better by
# the total.
#
# **If it does not work for you:** an error that cannot be reached is refused when the
# rule is chosen. Epistemic uncertainty needs draws that differ: see [how wide a
# posterior is](../how/posterior.md).

# %%
assert abs(scores["selective_error"] - 0.05) < 0.02
for x in found.values():
    assert x.rejected.mean() > prediction.rejected.mean()
for name in ("turned by 90°", "shuffled pixels"):
    assert auroc[name]["epistemic"] > auroc[name]["total"] > 0.5
assert auroc["uniform noise"]["total"] > auroc["uniform noise"]["epistemic"]
