"""Classifiers whose gradients, Hessians and worst cases are known by hand, and slow NumPy transcriptions of
definitions.

Each oracle has `logits` in JAX (what the library is given) and its derivatives in NumPy float64 (what the library must
find). Nothing here imports jsep.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Vector = np.ndarray


@dataclasses.dataclass(frozen=True)
class Linear:
    """logits_k = <weights_k, x> + bias_k; weights (K, H, W, C), bias (K,)."""

    weights: np.ndarray
    bias: np.ndarray

    def logits(self, image: Any) -> Any:
        return jnp.tensordot(jnp.asarray(self.weights, image.dtype), image, 3) + jnp.asarray(self.bias, image.dtype)

    def gradient(self, image: np.ndarray, label: int) -> np.ndarray:
        """d logit_label / dx = weights_label, whatever the image."""
        return self.weights[label]

    def hessian(self, image: np.ndarray, label: int) -> np.ndarray:
        return np.zeros((image.size, image.size))


@dataclasses.dataclass(frozen=True)
class Quadratic:
    """logits_k = x^T A_k x + bias_k over the flattened image; matrices (K, D, D) symmetric, bias (K,)."""

    matrices: np.ndarray
    bias: np.ndarray

    def logits(self, image: Any) -> Any:
        flat = image.reshape(-1)
        matrices = jnp.asarray(self.matrices, image.dtype)
        return jnp.einsum("i,kij,j->k", flat, matrices, flat) + jnp.asarray(self.bias, image.dtype)

    def gradient(self, image: np.ndarray, label: int) -> np.ndarray:
        """2 A x."""
        return (2 * self.matrices[label] @ image.reshape(-1)).reshape(image.shape)

    def hessian(self, image: np.ndarray, label: int) -> np.ndarray:
        """2 A, whatever the image."""
        return 2 * self.matrices[label]


@dataclasses.dataclass(frozen=True)
class SoftplusRidge:
    """logits_k = sum_j a_kj softplus_beta(<w_j, x>) + bias_k; directions (J, H, W, C), amplitudes (K, J), bias (K,)."""

    directions: np.ndarray
    amplitudes: np.ndarray
    bias: np.ndarray
    beta: float

    def logits(self, image: Any, beta: Any = None) -> Any:
        beta = self.beta if beta is None else beta
        along = jnp.tensordot(jnp.asarray(self.directions, image.dtype), image, 3)
        units = jnp.logaddexp(beta * along, 0.0) / beta
        return jnp.asarray(self.amplitudes, image.dtype) @ units + jnp.asarray(self.bias, image.dtype)

    def _logistic(self, image: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-self.beta * np.tensordot(self.directions, image, 3)))

    def gradient(self, image: np.ndarray, label: int) -> np.ndarray:
        """sum_j a_j s(beta w_j.x) w_j, with s the logistic function."""
        return np.tensordot(self.amplitudes[label] * self._logistic(image), self.directions, 1)

    def hessian(self, image: np.ndarray, label: int) -> np.ndarray:
        """sum_j a_j beta s (1 - s) w_j w_j^T."""
        s = self._logistic(image)
        flat = self.directions.reshape(len(self.directions), -1)
        return np.einsum("j,ji,jk->ik", self.amplitudes[label] * self.beta * s * (1 - s), flat, flat)


def linear(seed: int = 0, shape: tuple[int, int, int] = (3, 4, 2), num_classes: int = 3) -> Linear:
    rng = np.random.default_rng(seed)
    return Linear(rng.normal(size=(num_classes, *shape)), rng.normal(size=num_classes))


def quadratic(seed: int = 0, shape: tuple[int, int, int] = (3, 4, 2), num_classes: int = 3) -> Quadratic:
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    matrices = rng.normal(size=(num_classes, size, size))
    return Quadratic((matrices + matrices.transpose(0, 2, 1)) / 2, rng.normal(size=num_classes))


def softplus_ridge(
    seed: int = 0, shape: tuple[int, int, int] = (3, 4, 2), num_classes: int = 3, num_units: int = 5, beta: float = 3.0
) -> SoftplusRidge:
    rng = np.random.default_rng(seed)
    return SoftplusRidge(
        rng.normal(size=(num_units, *shape)),
        rng.normal(size=(num_classes, num_units)),
        rng.normal(size=num_classes),
        beta,
    )


ORACLES: dict[str, Callable[..., Any]] = {"linear": linear, "quadratic": quadratic, "softplus_ridge": softplus_ridge}


# Small networks written by hand, in another style than the library's models: what the methods find in any function.


def conv_net(seed: int = 0, shape: tuple[int, int, int] = (3, 4, 2), activation: str = "softplus", bias: bool = True):
    """image -> 3 logits: two 3x3 convolutions of 4 and 5 channels, mean over the pixels, a linear head."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(3, 3, shape[-1], 4)) / 3, rng.normal(size=(3, 3, 4, 5)) / 3
    head, offsets = rng.normal(size=(5, 3)), rng.normal(size=9) * bias

    def act(x: Any) -> Any:
        return jnp.maximum(x, 0) if activation == "relu" else jnp.logaddexp(4.0 * x, 0.0) / 4.0

    def logits(image: Any) -> Any:
        def conv(x: Any, kernel: np.ndarray) -> Any:
            dims = ("NHWC", "HWIO", "NHWC")
            return jax.lax.conv_general_dilated(x, jnp.asarray(kernel, x.dtype), (1, 1), "SAME", dimension_numbers=dims)

        x = act(conv(image[None], first) + jnp.asarray(offsets[:4], image.dtype))
        x = act(conv(x, second) + jnp.asarray(offsets[4:], image.dtype))
        return jnp.mean(x, axis=(0, 1, 2)) @ jnp.asarray(head, image.dtype)

    return logits


def transformer(
    seed: int = 0,
    shape: tuple[int, int, int] = (3, 4, 2),
    class_token: bool = True,
    norm: bool = False,
    linearised: bool = False,
):
    """image -> 3 logits: every pixel a token of 4 numbers, two layers of two-headed attention with residuals.

    norm: with layer normalisation and GELU units. linearised: attention maps, the roots of variances and GELU(x) / x
    are constants for the derivative, which makes the network linear in the values that they weigh.
    """
    rng = np.random.default_rng(seed)
    embed, token, head = rng.normal(size=(shape[-1], 4)), rng.normal(size=(1, 4)), rng.normal(size=(4, 3))
    weights, units = rng.normal(size=(2, 4, 4, 4)) / 2, rng.normal(size=(2, 4, 6))
    constant = jax.lax.stop_gradient if linearised else lambda x: x

    def layer_norm(x: Any) -> Any:
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        return centred * constant(jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)) * 1.5

    def gelu(x: Any) -> Any:
        return x * constant(jax.nn.gelu(x) / x) if linearised else jax.nn.gelu(x)

    def logits(image: Any) -> Any:
        def array(x: np.ndarray) -> Any:
            return jnp.asarray(x, image.dtype)

        x = image.reshape(-1, shape[-1]) @ array(embed)
        if class_token:
            x = jnp.concatenate([array(token), x])
        for (query, key, value, out), unit in zip(weights, units, strict=True):
            y = layer_norm(x) if norm else x
            q, k, v = ((y @ array(w)).reshape(len(x), 2, 2).swapaxes(0, 1) for w in (query, key, value))
            attention = constant(jax.nn.softmax(q @ k.swapaxes(1, 2) / 2.0))
            x = x + (attention @ v).swapaxes(0, 1).reshape(len(x), 4) @ array(out)
            if norm:
                x = x + gelu(layer_norm(x) @ array(unit)) @ array(unit.T)
        return (x[0] if class_token else jnp.mean(x, axis=0)) @ array(head)

    return logits


# Worst-case perturbations.


def worst_linear(weights: np.ndarray, image: np.ndarray, epsilon: float, norm: str) -> np.ndarray:
    """argmax <weights, z> over the ball around `image`; linf also over the box [0, 1], where it separates by pixel.

    The same image is worst for every increasing function of <weights, z>, such as one softplus ridge.
    """
    if norm == "linf":
        return np.clip(image + epsilon * np.sign(weights), 0, 1)
    return image + epsilon * weights / np.sqrt((weights**2).sum())


def worst_diagonal_quadratic(diagonal: np.ndarray, image: np.ndarray, epsilon: float) -> np.ndarray:
    """argmax sum_i a_i z_i^2 over the linf ball and the box [0, 1]: z_i as large as allowed where a_i > 0."""
    return np.where(diagonal > 0, np.minimum(image + epsilon, 1), np.maximum(image - epsilon, 0))


def worst_concave_quadratic_l2(matrix: np.ndarray, image: np.ndarray, epsilon: float) -> np.ndarray:
    """argmax z^T A z over the l2 ball, A negative definite: (mu I - A) d = A x with mu >= 0 so that |d| = epsilon."""
    flat = image.reshape(-1)

    def step(mu: float) -> np.ndarray:
        return np.linalg.solve(mu * np.eye(flat.size) - matrix, matrix @ flat)

    low, high = 0.0, 1e6
    if np.linalg.norm(step(low)) <= epsilon:
        return (flat + step(low)).reshape(image.shape)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.linalg.norm(step(middle)) > epsilon else (low, middle)
    return (flat + step(high)).reshape(image.shape)


def smallest_to_hyperplane(image: np.ndarray, normal: np.ndarray, gap: float, norm: str) -> np.ndarray:
    """argmin |d| with <normal, d> = gap and image + d in [0, 1], by bisection on how far the pixels move.

    Every pixel moves in the helpful direction until its wall, under linf by the same length, under l2 in proportion to
    the normal. Where the box does not reach the hyperplane, everything is at the wall.
    """
    sign = np.sign(normal * gap)
    room = np.where(sign > 0, 1 - image, image)
    speed = np.ones_like(normal) if norm == "linf" else np.abs(normal)

    def gained(length: float) -> float:
        return float((np.abs(normal) * np.minimum(length * speed, room)).sum())

    low, high = 0.0, 1.0
    while gained(high) < abs(gap) and high < 1e12:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if gained(middle) < abs(gap) else (low, middle)
    return sign * np.minimum(high * speed, room)


def linear_margin(oracle: Linear, image: np.ndarray, label: int, epsilon: float, norm: str) -> float:
    """max over the ball (linf: and the box) of max_{k != label} z_k - z_label: >= 0 where the image can be broken."""
    margins = []
    for rival in set(range(len(oracle.bias))) - {label}:
        weights = oracle.weights[rival] - oracle.weights[label]
        worst = worst_linear(weights, image, epsilon, norm)
        margins.append(float((weights * worst).sum() + oracle.bias[rival] - oracle.bias[label]))
    return max(margins)


# Definitions, transcribed slowly.


def explanation_map(saliency: np.ndarray, reduce: str, normalize: str) -> np.ndarray:
    """PAPER Definition 1 pixel by pixel; a zero reduction becomes the uniform map of the norm."""
    height, width, _ = saliency.shape
    reduced = np.empty((height, width))
    for row in range(height):
        for column in range(width):
            channels = [float(value) for value in saliency[row, column]]
            reduced[row, column] = {
                "abs_sum": sum(abs(value) for value in channels),
                "sum": sum(channels),
                "max": max(abs(value) for value in channels),
                "norm": sum(value * value for value in channels) ** 0.5,
            }[reduce]
    pixels = [float(value) for value in reduced.ravel()]
    divisor = {
        "l1": sum(abs(value) for value in pixels),
        "l2": sum(value * value for value in pixels) ** 0.5,
        "max": max(abs(value) for value in pixels),
        "none": 1.0,
    }[normalize]
    if divisor == 0:
        count = len(pixels)
        return np.full((height, width), {"l1": 1 / count, "l2": count**-0.5, "max": 1.0}[normalize])
    return reduced / divisor


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def cross_entropy(logits: np.ndarray, label: int) -> float:
    return float(-np.log(softmax(np.asarray(logits, np.float64))[label]))


def central_difference(function: Callable[[np.ndarray], Any], point: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """d function / d point, entry by entry, for a function of any output shape: (*output, *point) float64."""
    columns = []
    for index in np.ndindex(point.shape):
        up, down = point.copy(), point.copy()
        up[index] += step
        down[index] -= step
        columns.append((np.asarray(function(up)) - np.asarray(function(down))) / (2 * step))
    return np.stack(columns, -1).reshape(*columns[0].shape, *point.shape)


def relative_error(actual: Any, expected: Any) -> float:
    """The largest difference over the largest expected entry."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"shapes differ: {actual.shape} and {expected.shape}"
    return float(np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-300))


def random_variables(shapes: Any, seed: int = 0) -> Any:
    """Variables of a model in the layout `shapes` (from `jax.eval_shape`), drawn by NumPy: compiling an initialiser
    takes seconds a layer. Kernels are He-normal, biases and running means small, scales and variances near 1."""
    rng = np.random.default_rng(seed)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        if name == "kernel":
            values = rng.normal(size=leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))
        elif name in ("scale", "var"):
            values = rng.uniform(0.8, 1.2, leaf.shape)
        else:
            values = rng.uniform(-0.1, 0.1, leaf.shape)
        return values.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@dataclasses.dataclass(frozen=True)
class DombrowskiOracle:
    """The explanation attack on a diagonal quadratic classifier, jax-free: hand-derived gradients, its own Adam.

    logits_k = sum_i c_ki x_i^2 + b_k with c_0 > 0; I_i = c_0i x_i / S with S = sum_j c_0j x_j (Gradient, class 0, x
    >= 0).
    """

    diagonals: np.ndarray  # (K, D)
    bias: np.ndarray  # (K,)

    def map(self, x: Vector) -> Vector:
        return self.diagonals[0] * x / (self.diagonals[0] @ x)

    def logits(self, x: Vector) -> Vector:
        return self.diagonals @ x**2 + self.bias

    def _gradient(self, x: Vector, target: Vector, clean: Vector, map_weight: float, output_weight: float) -> Vector:
        a, maps = self.diagonals[0], self.map(x)
        residual = maps - target
        map_part = 2 / x.size * a / (a @ x) * (residual - residual @ maps)
        p = softmax(self.logits(x))
        dlogits = 2 / p.size * (p * (p - clean) - p * (p @ (p - clean)))
        return map_weight * map_part + output_weight * dlogits @ (2 * self.diagonals * x)

    def attack(
        self, x: Vector, target: Vector, *, num_steps: int, learning_rate: float, map_weight: float,
        output_weight: float, epsilon: float | None,
    ) -> tuple[Vector, list[float], int]:  # fmt: skip
        """(the best visited image that keeps the class, the loss at every visited image, the best one's step)."""
        clean, label = softmax(self.logits(x)), int(np.argmax(self.logits(x)))
        z, first, second = x.copy(), np.zeros_like(x), np.zeros_like(x)
        losses, best, best_loss, best_step = [], x.copy(), np.inf, 0
        for step in range(num_steps + 1):
            losses.append(float(np.mean((self.map(z) - target) ** 2)))
            if losses[-1] <= best_loss and int(np.argmax(self.logits(z))) == label:
                best, best_loss, best_step = z.copy(), losses[-1], step
            if step == num_steps:
                break
            g = self._gradient(z, target, clean, map_weight, output_weight)
            first = 0.9 * first + 0.1 * g
            second = 0.999 * second + 0.001 * g**2
            unbiased = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
            z = z - learning_rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
            if epsilon is not None:
                z = x + np.clip(z - x, -epsilon, epsilon)
            z = np.clip(z, 0, 1)
        return best, losses, best_step


def num_parameters(variables: Any) -> int:
    """The number of trained parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
