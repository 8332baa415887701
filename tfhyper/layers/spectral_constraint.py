"""A constraint that keeps the spectral norm of a kernel at 1."""

import keras
from keras import ops

from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class SpectralConstraint(keras.constraints.Constraint):
    """Divides a kernel by its spectral norm after each step of an optimizer.

    W / sigma(W), with sigma the largest singular value of the kernel as a matrix of
    (all other axes, output channels). A dense layer, or a convolution of one pixel,
    is then a map with Lipschitz constant 1; of larger kernels the norm of the
    convolution is at most sqrt(number of places) times as large.

    Where `keras.layers.SpectralNormalization` sets the kernel within its call, by one
    step of power iteration, here the optimizer does, as with all constraints of Keras:
    so that a network may be called several times in a step, on every backend, and
    trains and predicts with the same kernel. sigma^2 is an eigenvalue of the smaller
    of W^T W and W W^T, which is found exactly. A kernel of zeros stays as it is.

    Example:

    >>> constraint = tfhyper.layers.SpectralConstraint()
    >>> kernel = constraint(np.diag([2.0, 4.0]).astype("float32"))
    >>> np.round(keras.ops.convert_to_numpy(kernel), 4).tolist()
    [[0.5, 0.0], [0.0, 1.0]]

    Reference:
        Miyato et al.: Spectral normalization for generative adversarial networks, ICLR
        2018, section 2.1.
    """

    def __call__(self, w: Tensor) -> Tensor:
        """Returns the kernel with a spectral norm of 1."""
        kernel = ops.convert_to_tensor(w)
        matrix = ops.cast(ops.reshape(kernel, (-1, kernel.shape[-1])), "float32")
        if matrix.shape[0] < matrix.shape[1]:
            matrix = ops.transpose(matrix)
        largest = ops.eigh(ops.matmul(ops.transpose(matrix), matrix))[0][-1]
        sigma = ops.sqrt(ops.maximum(largest, 0.0))
        scale = ops.where(sigma > 0, 1 / ops.where(sigma > 0, sigma, 1.0), 1.0)
        return kernel * ops.cast(scale, kernel.dtype)
