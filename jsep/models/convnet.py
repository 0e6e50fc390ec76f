"""The small convolutional network of the paper's tables."""

import flax.linen as nn

from jsep.models.layers import Classifier, Conv
from jsep.types import Array


class ConvNet(Classifier):
    """Three 3x3 convolutions (32, 64 and 128 channels; strides 1, 2 and 2) and a linear head on the flattened result.

    `__call__`: images (B, H, W, C) float in [0, 1] -> logits (B, K). No batch normalisation: `train` has no effect.
    """

    widths: tuple[int, ...] = (32, 64, 128)

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        x = self.normalize(images)
        for index, width in enumerate(self.widths):
            is_last = index + 1 == len(self.widths)
            x = self.act(Conv(width, strides=1 if index == 0 else 2, use_bias=True, is_flattened=is_last)(x))
        return self.head(x.reshape(len(x), -1))
