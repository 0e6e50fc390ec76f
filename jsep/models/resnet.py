"""ResNet-18 for images of about 32x32 pixels (He et al. 2016, with the 3x3 stem usual on CIFAR)."""

import flax.linen as nn
import jax.numpy as jnp

from jsep.models.layers import BATCH_NORM_MOMENTUM, Classifier, Conv
from jsep.types import Array


class ResNet(Classifier):
    """A residual network of basic blocks; `stage_sizes` (2, 2, 2, 2) is ResNet-18: 11,173,962 parameters at 10
    classes and 3 channels.

    `__call__`: images (B, H, W, C) float in [0, 1] -> logits (B, K). With `train`, batch normalisation uses the batch
    statistics and updates the collection "batch_stats"; otherwise it uses the running statistics.
    """

    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    width: int = 64

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        def norm(x: Array) -> Array:
            return nn.BatchNorm(use_running_average=not train, momentum=BATCH_NORM_MOMENTUM, epsilon=1e-5)(x)

        x = self.act(norm(Conv(self.width)(self.normalize(images))))
        for stage, num_blocks in enumerate(self.stage_sizes):
            channels = self.width * 2**stage
            for block in range(num_blocks):
                strides = 2 if stage > 0 and block == 0 else 1
                y = self.act(norm(Conv(channels, strides=strides)(x)))
                y = norm(Conv(channels)(y))
                if x.shape[-1] != channels or strides != 1:
                    x = norm(Conv(channels, size=1, strides=strides)(x))
                x = self.act(x + y)
        return self.head(jnp.mean(x, axis=(1, 2)))
