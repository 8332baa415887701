"""Writes `reference.json`: what laplace-torch (MIT) gives for two small networks.

Needs `pip install laplace-torch` (0.3 was used, with curvlinops-for-pytorch 3.0.1) and
is run by hand: the tests read the file alone.

    python tests/laplace/make_reference.py
"""

import json
import pathlib
import warnings

import numpy as np
import torch
from laplace import Laplace
from laplace.curvature import CurvlinopsGGN

PATH = pathlib.Path(__file__).with_name("reference.json")
PRIOR_PRECISION, TEMPERATURE, SIGMA = 2.5, 0.7, 0.4
# Kernel and bias have precisions of their own.
PAIR = [0.3, 6.0]
FEATURES, INPUTS, EXAMPLES, HELD_OUT = 5, 4, 60, 8


def data_of(likelihood):
    """Returns inputs and targets, the last ones held out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(EXAMPLES + HELD_OUT, INPUTS)).astype("float32")
    if likelihood == "classification":
        y = (x[:, :3] + 0.5 * rng.normal(size=(len(x), 3))).argmax(1)
    else:
        y = np.stack([np.sin(x[:, 0]), x[:, 1] * x[:, 2]], 1)
        y = (y + 0.3 * rng.normal(size=y.shape)).astype("float32")
    return x, y


def network_of(outputs):
    """Returns a network, and its weights as Keras has them."""
    torch.manual_seed(1)
    network = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, FEATURES),
        torch.nn.Tanh(),
        torch.nn.Linear(FEATURES, outputs),
    )
    with torch.no_grad():
        network[2].weight.mul_(3.0)
    layers = [network[0], network[2]]
    weights = [x for layer in layers for x in (layer.weight.T, layer.bias)]
    return network, [x.detach().numpy().tolist() for x in weights]


def fitted(network, likelihood, hessian, loader, prior):
    """Returns the Laplace approximation of the last layer."""
    options = {"sigma_noise": SIGMA} if likelihood == "regression" else {}
    found = Laplace(
        network,
        likelihood,
        subset_of_weights="last_layer",
        hessian_structure=hessian,
        prior_precision=prior,
        temperature=TEMPERATURE,
        backend=CurvlinopsGGN,
        **options,
    )
    found.fit(loader)
    return found


def main():
    """Writes the file."""
    warnings.simplefilter("ignore")
    written = {
        "prior_precision": PRIOR_PRECISION,
        "temperature": TEMPERATURE,
        "noise_variance": SIGMA**2,
        "pair": PAIR,
    }
    for likelihood, outputs in (("classification", 3), ("regression", 2)):
        network, weights = network_of(outputs)
        x, y = map(torch.from_numpy, data_of(likelihood))
        held_out = x[EXAMPLES:]
        dataset = torch.utils.data.TensorDataset(x[:EXAMPLES], y[:EXAMPLES])
        # All in one batch: that of Kronecker factors is the exact one then.
        loader = torch.utils.data.DataLoader(dataset, batch_size=EXAMPLES)
        case = {
            "weights": weights,
            "x": x[:EXAMPLES].tolist(),
            "y": y[:EXAMPLES].tolist(),
            "x_test": held_out.tolist(),
            "hessian": {},
        }
        for hessian in ("full", "kron", "diag"):
            laplace = fitted(network, likelihood, hessian, loader, PRIOR_PRECISION)
            mean, variance = laplace._glm_predictive_distribution(held_out)
            found = {
                "log_marginal_likelihood": float(laplace.log_marginal_likelihood()),
                "mean": mean.tolist(),
                "variance": variance.diagonal(dim1=-2, dim2=-1).tolist(),
            }
            if likelihood == "classification":
                found["probit"] = laplace(held_out, link_approx="probit").tolist()
            pair = [
                torch.full((network[2].weight.numel(),), PAIR[0]),
                torch.full((network[2].bias.numel(),), PAIR[1]),
            ]
            prior = torch.tensor(PAIR) if hessian == "kron" else torch.cat(pair)
            laplace = fitted(network, likelihood, hessian, loader, prior)
            _, variance = laplace._glm_predictive_distribution(held_out)
            if hessian != "kron":  # for which laplace-torch has none
                found["pair_log_marginal_likelihood"] = float(
                    laplace.log_marginal_likelihood()
                )
            found["pair_variance"] = variance.diagonal(dim1=-2, dim2=-1).tolist()
            case["hessian"][hessian] = found
        written[likelihood] = case
    text = json.dumps(_rounded(written), indent=None)
    PATH.write_text(text + "\n")


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(x) for key, x in value.items()}
    if isinstance(value, list):
        return [_rounded(x) for x in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
