"""A small vision transformer for images of about 32x32 pixels (Dosovitskiy et al. 2021)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jsep.checks import InputError
from jsep.models.layers import Classifier
from jsep.types import Array


class ViT(Classifier):
    """Pre-norm transformer encoder on square patches with a class token and learned position embeddings.

    The defaults are the width and depth of ViT-Tiny, with 4x4 patches.
    `__call__`: images (B, H, W, C) float in [0, 1], H and W multiples of `patch` -> logits (B, K). Stores the attention
    maps (B, heads, T, T) of each layer for `models.attention_fn`. No dropout: `train` has no effect.
    """

    patch: int = 4
    width: int = 192
    depth: int = 12
    num_heads: int = 3
    mlp_ratio: int = 4

    @nn.compact
    def __call__(self, images: Array, train: bool = False) -> Array:
        batch, height, width, channels = images.shape
        if height % self.patch or width % self.patch:
            raise InputError(
                f"images of {height}x{width} pixels are no grid of patches of {self.patch}x{self.patch}: "
                "choose another patch or crop the images"
            )
        if self.width % self.num_heads:
            raise InputError(f"width must be a multiple of num_heads, got {self.width} and {self.num_heads}")
        rows, columns = height // self.patch, width // self.patch
        x = self.normalize(images).reshape(batch, rows, self.patch, columns, self.patch, channels)
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows * columns, self.patch**2 * channels)
        x = nn.Dense(self.width, name="patches")(x)
        class_token = self.param("class_token", nn.initializers.zeros, (1, 1, self.width))
        x = jnp.concatenate([jnp.broadcast_to(class_token, (batch, 1, self.width)), x], axis=1)
        x = x + self.param("positions", nn.initializers.normal(0.02), (1, x.shape[1], self.width))
        for block in range(self.depth):
            x = x + self.attention(nn.LayerNorm(name=f"norm_a{block}")(x), block)
            y = nn.Dense(self.mlp_ratio * self.width, name=f"mlp_in{block}")(nn.LayerNorm(name=f"norm_b{block}")(x))
            x = x + nn.Dense(self.width, name=f"mlp_out{block}")(self.act(y))
        return self.head(nn.LayerNorm(name="norm")(x)[:, 0])

    def attention(self, x: Array, block: int) -> Array:
        """Multi-head self-attention: (B, T, width) -> (B, T, width)."""
        batch, num_tokens, _ = x.shape
        qkv = nn.Dense(3 * self.width, name=f"qkv{block}")(x)
        queries, keys, values = qkv.reshape(batch, num_tokens, 3, self.num_heads, -1).transpose(2, 0, 3, 1, 4)
        scores = queries @ keys.swapaxes(-1, -2) / jnp.sqrt(queries.shape[-1]).astype(x.dtype)
        attention = jax.nn.softmax(scores)
        self.sow("intermediates", "attention", attention)
        y = (attention @ values).transpose(0, 2, 1, 3).reshape(batch, num_tokens, self.width)
        return nn.Dense(self.width, name=f"attention_out{block}")(y)
