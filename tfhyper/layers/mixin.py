"""What parts of a layer are to a type checker: layers."""

from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    # They use the methods and attributes of the stock layer that they stand before in
    # the bases of a class.
    LayerMixin = keras.Layer
else:
    LayerMixin = object
