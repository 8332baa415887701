"""The generalised Gauss-Newton matrix of a last layer, and the Gaussian it gives.

The weights of the layer are a matrix W, (rows, outputs): the kernel, and the bias as
the row of a feature that is always 1. Its outputs f = phi W are linear in W, so that
the matrix is exact in features phi and the Hessians Lambda of the negative
log-likelihood with respect to f, of all examples n:

    H = sum_n (phi_n phi_n^T) kron Lambda_n,    Lambda_n = diag(d_n) - u_n u_n^T

(Daxberger et al., 2021, section 2 and appendix B). All in float64.
"""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import numpy as np

Hessian: TypeAlias = Literal["full", "kron", "diag"]
HESSIANS: tuple[Hessian, ...] = get_args(Hessian)
# How the variance of an output is made of features, see `Gaussian`.
Covariance: TypeAlias = Literal["by_output", "shared", "diagonal"]
COVARIANCES: tuple[Covariance, ...] = get_args(Covariance)

# The most rows of a matrix that is decomposed: of float64 it has 512 MiB.
LARGEST = 2**13
# Examples whose products with all outputs are in memory at once.
_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class OutputHessian:
    """Hessians of the negative log-likelihoods of examples in the network's outputs.

    Attributes:
        diagonal: d, (examples, outputs), with the examples' weights.
        root: u, (examples, outputs), with the roots of these; `None` for zeros.
        weights: (examples,).
    """

    diagonal: np.ndarray
    root: np.ndarray | None
    weights: np.ndarray

    @property
    def own(self) -> np.ndarray:
        """The diagonals of the matrices, (examples, outputs)."""
        if self.root is None:
            return self.diagonal
        return self.diagonal - np.square(self.root)

    def row(self, output: int, part: slice) -> np.ndarray:
        """Returns row `output` of each matrix of some examples, (part, outputs)."""
        found = np.zeros_like(self.diagonal[part])
        found[:, output] = self.diagonal[part, output]
        if self.root is not None:
            found -= self.root[part, output, None] * self.root[part]
        return found

    def total(self) -> np.ndarray:
        """Returns the sum of the matrices, (outputs, outputs)."""
        found = np.diag(self.diagonal.sum(axis=0))
        return found if self.root is None else found - self.root.T @ self.root


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """The posterior N(W, Sigma) of a last layer, as far as its use needs it.

    With h = phi P, the variance of output c at features phi is

        by_output   sum_r (phi P_c)_r^2,   a projection P_c for each output
        shared      sum_r (phi P)_r^2 S_rc
        diagonal    sum_r phi_r^2 S_rc

    Attributes:
        covariance: which of these.
        projection: P, (rows, rows), or P_c side by side, (rows, outputs rows); `None`
            where there is none.
        scales: S, (rows, outputs); `None` where there is none.
        deviation: function of a generator of NumPy that draws W's deviation from the
            mean, (rows, outputs).
    """

    covariance: Covariance
    projection: np.ndarray | None
    scales: np.ndarray | None
    deviation: Callable[[np.random.Generator], np.ndarray]

    def variance(self, features: np.ndarray) -> np.ndarray:
        """Returns the variances of the outputs, (examples, outputs).

        Args:
            features: (examples, rows), with the 1 of the bias.
        """
        projected = features
        if self.projection is not None:
            projected = features @ self.projection
        if self.scales is not None:
            return np.square(projected) @ self.scales
        shaped = projected.reshape(len(features), -1, features.shape[1])
        return np.square(shaped).sum(axis=-1)


class Curvature(abc.ABC):
    """H, summed over examples, in one of its forms.

    Args:
        rows: features, and one more for a bias.
        outputs: classes, labels or targets.
        use_bias: whether the last row is that of a bias.
    """

    # Whose use of its posterior it is.
    covariance: Covariance

    def __init__(self, rows: int, outputs: int, use_bias: bool):
        self.rows, self.outputs, self.use_bias = rows, outputs, use_bias

    @abc.abstractmethod
    def add(self, features: np.ndarray, hessian: OutputHessian) -> None:
        """Adds examples.

        Args:
            features: (examples, rows), with the 1 of a bias.
            hessian: theirs.
        """

    @abc.abstractmethod
    def log_det(self, scale: float, prior: np.ndarray) -> float:
        """Returns log det(scale H + diag(prior)).

        Args:
            scale: 1 / temperature, and of a regression 1 / (temperature sigma^2).
            prior: (rows,), the prior precision of the weights in each row.
        """

    @abc.abstractmethod
    def posterior(self, scale: float, prior: np.ndarray) -> Gaussian:
        """Returns the posterior, whose precision is scale H + diag(prior).

        Raises:
            ValueError: if that is singular in float64.
        """


class Full(Curvature):
    """All of H, (rows outputs, rows outputs)."""

    covariance = "by_output"

    def __init__(self, rows: int, outputs: int, use_bias: bool):
        super().__init__(rows, outputs, use_bias)
        self._sum = np.zeros((rows, outputs, rows, outputs))

    def add(self, features: np.ndarray, hessian: OutputHessian) -> None:
        """Adds examples, some at a time."""
        for start in range(0, len(features), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            some = features[part]
            for output in range(self.outputs):
                rows = hessian.row(output, part)
                products = some[:, :, None] * rows[:, None, :]
                found = some.T @ products.reshape(len(some), -1)
                self._sum[:, output] += found.reshape(self.rows, self.rows, -1)

    @functools.cached_property
    def _matrix(self) -> np.ndarray:
        size = self.rows * self.outputs
        matrix = self._sum.reshape(size, size)
        return (matrix + matrix.T) / 2

    @functools.cached_property
    def _eigenvalues(self) -> np.ndarray:
        return np.maximum(np.linalg.eigvalsh(self._matrix), 0.0)

    def log_det(self, scale: float, prior: np.ndarray) -> float:
        """Returns log det(scale H + diag(prior))."""
        if np.ptp(prior) == 0:
            return float(np.log(scale * self._eigenvalues + prior[0]).sum())
        root = _cholesky(self._precision(scale, prior), prior)
        return 2.0 * float(np.log(np.diag(root)).sum())

    def posterior(self, scale: float, prior: np.ndarray) -> Gaussian:
        """Returns the posterior."""
        inverse = _inverse_root(self._precision(scale, prior), prior)
        size = self.rows, self.outputs
        # What of it belongs to one output.
        blocks = inverse.reshape(-1, *size).transpose(2, 1, 0)
        roots = _roots(blocks @ blocks.transpose(0, 2, 1))
        projection = roots.transpose(1, 0, 2).reshape(self.rows, -1)

        def deviation(generator: np.random.Generator) -> np.ndarray:
            noise = generator.standard_normal(len(inverse))
            return (inverse.T @ noise).reshape(size)

        return Gaussian(self.covariance, projection, None, deviation)

    def _precision(self, scale: float, prior: np.ndarray) -> np.ndarray:
        return scale * self._matrix + np.diag(np.repeat(prior, self.outputs))


class Shared(Curvature):
    """All of H of a regression, whose outputs have the same: (rows, rows) kron I."""

    covariance = "shared"

    def __init__(self, rows: int, outputs: int, use_bias: bool):
        super().__init__(rows, outputs, use_bias)
        self._sum = np.zeros((rows, rows))

    def add(self, features: np.ndarray, hessian: OutputHessian) -> None:
        """Adds examples."""
        self._sum += features.T @ (features * hessian.weights[:, None])

    @functools.cached_property
    def _eigenvalues(self) -> np.ndarray:
        return np.maximum(np.linalg.eigvalsh(self._sum), 0.0)

    def log_det(self, scale: float, prior: np.ndarray) -> float:
        """Returns log det(scale H + diag(prior))."""
        if np.ptp(prior) == 0:
            found = np.log(scale * self._eigenvalues + prior[0]).sum()
        else:
            root = _cholesky(scale * self._sum + np.diag(prior), prior)
            found = 2.0 * np.log(np.diag(root)).sum()
        return self.outputs * float(found)

    def posterior(self, scale: float, prior: np.ndarray) -> Gaussian:
        """Returns the posterior."""
        root = _inverse_root(scale * self._sum + np.diag(prior), prior).T
        scales = np.ones((self.rows, self.outputs))

        def deviation(generator: np.random.Generator) -> np.ndarray:
            return root @ generator.standard_normal(scales.shape)

        return Gaussian(self.covariance, root, scales, deviation)


class Kron(Curvature):
    """A kron B for the kernel, and B for the bias, without what they have in common.

    A = mean_n phi_n phi_n^T of the features, B = sum_n Lambda_n: as KFAC, whose sum of
    products is the product of sums (Daxberger et al., 2021, appendix A).
    """

    covariance = "shared"

    def __init__(self, rows: int, outputs: int, use_bias: bool):
        super().__init__(rows, outputs, use_bias)
        features = rows - use_bias
        self._squares, self._weight = np.zeros((features, features)), 0.0
        self._total = np.zeros((outputs, outputs))

    def add(self, features: np.ndarray, hessian: OutputHessian) -> None:
        """Adds examples."""
        kernel = features[:, :-1] if self.use_bias else features
        self._squares += kernel.T @ (kernel * hessian.weights[:, None])
        self._weight += hessian.weights.sum()
        self._total += hessian.total()

    @functools.cached_property
    def _decomposed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues and eigenvectors of A, with the 1 of the bias, and of B."""
        values, vectors = np.linalg.eigh(self._squares / self._weight)
        rotation = np.eye(self.rows)
        rotation[: len(values), : len(values)] = vectors
        values = np.concatenate([values, np.ones(self.rows - len(values))])
        outer_values, outer = np.linalg.eigh(self._total)
        return np.maximum(values, 0.0), rotation, np.maximum(outer_values, 0.0), outer

    def _precisions(self, scale: float, prior: np.ndarray) -> np.ndarray:
        """Returns the posterior's precision in the eigenvectors, (rows, outputs)."""
        values, _, outer_values, _ = self._decomposed
        return scale * values[:, None] * outer_values + prior[:, None]

    def log_det(self, scale: float, prior: np.ndarray) -> float:
        """Returns log det(scale H + diag(prior))."""
        return float(np.log(self._precisions(scale, prior)).sum())

    def posterior(self, scale: float, prior: np.ndarray) -> Gaussian:
        """Returns the posterior."""
        _, rotation, _, outer = self._decomposed
        variances = 1.0 / self._precisions(scale, prior)

        def deviation(generator: np.random.Generator) -> np.ndarray:
            noise = generator.standard_normal(variances.shape)
            return rotation @ (np.sqrt(variances) * noise) @ outer.T

        scales = variances @ np.square(outer).T
        return Gaussian(self.covariance, rotation, scales, deviation)


class Diagonal(Curvature):
    """The diagonal of H, (rows, outputs)."""

    covariance = "diagonal"

    def __init__(self, rows: int, outputs: int, use_bias: bool):
        super().__init__(rows, outputs, use_bias)
        self._sum = np.zeros((rows, outputs))

    def add(self, features: np.ndarray, hessian: OutputHessian) -> None:
        """Adds examples."""
        self._sum += np.square(features).T @ hessian.own

    def log_det(self, scale: float, prior: np.ndarray) -> float:
        """Returns log det(scale H + diag(prior))."""
        return float(np.log(scale * self._sum + prior[:, None]).sum())

    def posterior(self, scale: float, prior: np.ndarray) -> Gaussian:
        """Returns the posterior."""
        scales = 1.0 / (scale * self._sum + prior[:, None])

        def deviation(generator: np.random.Generator) -> np.ndarray:
            return np.sqrt(scales) * generator.standard_normal(scales.shape)

        return Gaussian(self.covariance, None, scales, deviation)


def form_of(hessian: Hessian, regression: bool) -> type[Curvature]:
    """Returns the form of a Hessian, by its name and by the likelihood."""
    if hessian == "full":
        return Shared if regression else Full
    return Kron if hessian == "kron" else Diagonal


def _cholesky(precision: np.ndarray, prior: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.cholesky(precision)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "`prior_precision` must be large enough that the posterior's precision is "
            "not singular in float64: features depend on each other. "
            f"Received: prior_precision={prior.min()}"
        ) from error


def _inverse_root(precision: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Returns R with R^T R the inverse of a precision."""
    import scipy.linalg

    root = _cholesky(precision, prior)
    identity = np.eye(len(root))
    return scipy.linalg.solve_triangular(root, identity, lower=True)


def _roots(covariances: np.ndarray) -> np.ndarray:
    """Returns R with R R^T each of these matrices, (matrices, rows, rows)."""
    values, vectors = np.linalg.eigh(covariances)
    return vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
