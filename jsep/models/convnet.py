"""The small convolutional network of the paper's tables."""

import flax.linen as nn

from jsep.models.layers import Classifier, Conv
from jsep.types import Array


class ConvNet(Classifier):
    """Three 3x3 convolutions (32, 64, 128 channels; the second and third with stride 2), one hidden layer of 128, a
    linear head.

    `__call__`: images (B, H, W, C) float in [0, 1] -> logits (B, K). No batch normalisation: `train` changes nothing.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    hidden: int = 128

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        x = self.normalise(images)
        for index, width in enumerate(self.widths):
            x = self.act(Conv(width, strides=1 if index == 0 else 2, use_bias=True)(x))
        x = x.reshape(len(x), -1)
        x = self.act(nn.Dense(self.hidden, kernel_init=nn.initializers.he_normal())(x))
        return self.head(x)
