"""Wide residual networks with pre-activation blocks (Zagoruyko and Komodakis 2016)."""

import flax.linen as nn
import jax.numpy as jnp

from jsep.models.layers import BATCH_NORM_MOMENTUM, Classifier, Conv
from jsep.types import Array


class WideResNet(Classifier):
    """Three stages of (depth - 4) / 6 blocks of width 16, 32 and 64 times `widen`; WRN-28-10 has 36,479,194 parameters,
    WRN-34-10 46,160,474, at 10 classes and 3 channels.

    `__call__`: images (B, H, W, C) float in [0, 1] -> logits (B, K). `train`: as in `ResNet`. No dropout, as is usual
    in adversarial training.
    """

    depth: int = 28
    widen: int = 10

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        def norm_act(x: Array) -> Array:
            return self.act(nn.BatchNorm(use_running_average=not train, momentum=BATCH_NORM_MOMENTUM, epsilon=1e-5)(x))

        x = Conv(16)(self.normalize(images))
        for stage in range(3):
            channels = 16 * self.widen * 2**stage
            for block in range((self.depth - 4) // 6):
                strides = 2 if stage > 0 and block == 0 else 1
                y = norm_act(x)
                # In blocks that change the number of channels, the shortcut starts after the activation.
                shortcut = x if x.shape[-1] == channels else Conv(channels, size=1, strides=strides)(y)
                y = norm_act(Conv(channels, strides=strides)(y))
                x = shortcut + Conv(channels)(y)
        return self.head(jnp.mean(norm_act(x), axis=(1, 2)))
