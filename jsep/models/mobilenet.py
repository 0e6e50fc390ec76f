"""MobileNetV2 for images of about 32x32 pixels (Sandler et al. 2018)."""

import flax.linen as nn
import jax.numpy as jnp

from jsep.models.layers import BATCH_NORM_MOMENTUM, Classifier, Conv, DepthwiseConv
from jsep.types import Array

# Table 2 of the paper, with stride 1 in the stem and in the first two stages.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNetV2(Classifier):
    """Inverted residual blocks with depthwise convolutions: 2,296,922 parameters at 10 classes and 3 channels.

    Blocks of stride 1 that change the number of channels have a 1x1 convolution as shortcut, as is usual on CIFAR.
    `stages`: (expansion, channels, number of blocks, stride of the first block) of each stage.
    `__call__`: images (B, H, W, C) float in [0, 1] -> logits (B, K). `train`: as in `ResNet`.
    """

    stages: tuple[tuple[int, int, int, int], ...] = _STAGES
    last_width: int = 1280

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        def norm(x: Array) -> Array:
            return nn.BatchNorm(use_running_average=not train, momentum=BATCH_NORM_MOMENTUM, epsilon=1e-5)(x)

        x = self.act(norm(Conv(32)(self.normalize(images))))
        for expansion, channels, num_blocks, first_strides in self.stages:
            for block in range(num_blocks):
                strides = first_strides if block == 0 else 1
                y = self.act(norm(Conv(expansion * x.shape[-1], size=1)(x)))
                y = self.act(norm(DepthwiseConv(strides=strides)(y)))
                y = norm(Conv(channels, size=1)(y))
                if strides == 1:
                    y = y + (x if x.shape[-1] == channels else norm(Conv(channels, size=1)(x)))
                x = y
        x = self.act(norm(Conv(self.last_width, size=1)(x)))
        return self.head(jnp.mean(x, axis=(1, 2)))
