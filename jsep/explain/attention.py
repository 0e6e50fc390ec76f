"""Attention-based explanations of vision transformers; the attention maps are found in the jaxpr of any JAX model."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError, check_count
from jsep.explain.entry import explanation_method, score
from jsep.explain.program import SHAPE_STEPS, Program, Step, Var, trace
from jsep.types import Array, Key, LogitsFn


def softmax_outputs(program: Program) -> list[Var]:
    """The outputs of softmaxes, exp(a) / sum(exp(a)), in order; after the zeros of rows that are masked as a whole."""
    made_by: dict[Var, Step] = {var: step for step in program.steps for var in step.outputs}

    def source(var: Var) -> Var:
        """The variable before reshapes, broadcasts and casts (present in softmaxes of half precision)."""
        while var in made_by and made_by[var].name in SHAPE_STEPS | {"convert_element_type"}:
            var = made_by[var].inputs[0]
        return var

    def is_sum_of(var: Var, exponential: Var) -> bool:
        step = made_by.get(source(var))
        return step is not None and step.name == "reduce_sum" and source(step.inputs[0]) == exponential

    found = []
    for step in program.steps:
        if step.name != "div" or len(step.inputs) != 2:
            continue
        above, below = step.inputs
        is_exponential = above in made_by and made_by[above].inside <= {"exp"}
        if is_exponential and is_sum_of(below, above):
            found.append(step.outputs[0])
    for step in program.steps:
        chosen = [operand for operand in step.operands[1:] if isinstance(operand, Var)]
        if step.name == "select_n" and len(chosen) == 1 and chosen[0] in found:
            found[found.index(chosen[0])] = step.outputs[0]
    return found


def _attention_outputs(program: Program) -> list[Var]:
    """The attention softmaxes, of shape (..., T, T), in order."""
    found = [var for var in softmax_outputs(program) if len(var.shape) >= 2 and var.shape[-1] == var.shape[-2] > 1]
    if not found:
        raise InputError(
            "the model has no attention maps (a softmax over T keys for T queries): attention methods explain vision "
            "transformers; use gradient_x_input, guided_backprop or lrp_epsilon here"
        )
    return found


def attention_maps(logits_fn: LogitsFn, image: Array) -> list[Array]:
    """The attention maps of every layer, (heads, T, T) each, with rows that sum to 1.

    Raises: InputError for a model without attention.
    """
    image = jnp.asarray(image)
    program = trace(logits_fn, image)
    values = program.run({program.input: image})
    return [_by_head(values[var]) for var in _attention_outputs(program)]


def _by_head(attention: Array) -> Array:
    return attention.reshape(-1, *attention.shape[-2:])


class _Layout(NamedTuple):
    """grid: (rows, columns) of patches; num_extra: tokens before the patches; read: tokens whose rows are averaged."""

    grid: tuple[int, int]
    num_extra: int
    read: tuple[int, ...]


def _layout(
    program: Program, num_tokens: int, shape: tuple[int, ...], grid: Any, num_extra_tokens: int | None, token: Any
) -> _Layout:
    """The layout of the tokens: as given, else the only one possible. Raises: InputError if several are possible."""
    if num_extra_tokens is not None:
        check_count("num_extra_tokens", num_extra_tokens, minimum=0)
    found = _given_grid(grid, num_tokens, num_extra_tokens) if grid is not None else None
    if found is None:
        possible = _grids_of_patches(program, num_tokens, shape, num_extra_tokens)
        possible = possible or _possible_grids(num_tokens, shape, num_extra_tokens)
        if not possible:
            raise InputError(
                f"attention over {num_tokens} tokens is no grid of patches, with or without one class token before it, "
                f"of an image of {shape[0]}x{shape[1]}; pass grid=(rows, columns) and num_extra_tokens"
            )
        if len(possible) > 1:
            raise InputError(
                f"attention over {num_tokens} tokens may be a grid of "
                f"{' or '.join(f'{rows}x{columns}' for rows, columns in sorted(possible))} patches: "
                "pass grid=(rows, columns)"
            )
        found = possible.pop()
    num_extra = num_tokens - found[0] * found[1]
    return _Layout(found, num_extra, _rows_read(program, num_tokens, num_extra, token))


def _given_grid(grid: Any, num_tokens: int, num_extra_tokens: int | None) -> tuple[int, int]:
    if not isinstance(grid, tuple | list) or len(grid) != 2:
        raise InputError(f"grid must be (rows, columns) of the patches, got {grid!r}")
    for length in grid:
        check_count("grid", length)
    num_extra = num_tokens - grid[0] * grid[1]
    if num_extra < 0 or num_extra_tokens not in (None, num_extra):
        wanted = "fewer" if num_extra_tokens is None else f"{num_extra_tokens} of them extra"
        raise InputError(f"grid {tuple(grid)} does not fit {num_tokens} tokens, {wanted}")
    return int(grid[0]), int(grid[1])


def _grids_of_patches(
    program: Program, num_tokens: int, shape: tuple[int, ...], num_extra_tokens: int | None
) -> set[tuple[int, int]]:
    """The patch grids into which the model splits the image, by a reshape or a convolution with stride = kernel."""
    found = set()
    for step in program.steps:
        sizes = step.outputs[0].shape
        if step.name == "reshape" and len(sizes) >= 4:
            places = [
                i for i in range(len(sizes) - 3) if (sizes[i] * sizes[i + 1], sizes[i + 2] * sizes[i + 3]) == shape[:2]
            ]
            found |= {(sizes[i], sizes[i + 2]) for i in places}
        numbers, strides = step.params.get("dimension_numbers"), step.params.get("window_strides")
        if step.name == "conv_general_dilated" and numbers is not None and strides is not None:
            kernel = [np.shape(step.operands[1])[axis] for axis in numbers.rhs_spec[2:]]
            if list(strides) == kernel and len(kernel) == 2:
                found.add(tuple(sizes[axis] for axis in numbers.out_spec[2:]))
        if step.name == "strided_conv2d":  # (B, H, W, C) with (kh, kw, C, F), without overlap where kh H' = H
            (high, wide), (rows, columns) = np.shape(step.operands[1])[:2], sizes[1:3]
            if (rows * high, columns * wide) == step.inputs[0].shape[1:3]:
                found.add((rows, columns))
    extra = range(num_tokens) if num_extra_tokens is None else (num_extra_tokens,)
    return {(rows, columns) for rows, columns in found if num_tokens - rows * columns in extra}


def _possible_grids(num_tokens: int, shape: tuple[int, ...], num_extra_tokens: int | None) -> set[tuple[int, int]]:
    """The grids of equal patches with this number of tokens, with at most one extra token unless specified."""
    height, width, _ = shape
    extra = (0, 1) if num_extra_tokens is None else (num_extra_tokens,)
    return {
        (rows, (num_tokens - more) // rows)
        for more in extra
        for rows in range(1, height + 1)
        if height % rows == 0
        and num_tokens > more
        and (num_tokens - more) % rows == 0
        and width % ((num_tokens - more) // rows) == 0
    }


def _rows_read(program: Program, num_tokens: int, num_extra: int, token: Any) -> tuple[int, ...]:
    """The tokens that the logits are computed from after the last attention: an extra one, or the mean of many."""
    if token == "mean":
        return tuple(range(num_tokens))
    if token is not None:
        check_count("token", token, minimum=0)
        if token >= num_tokens:
            raise InputError(f"token must be below the {num_tokens} tokens, or 'mean', got {token}")
        return (int(token),)
    if num_extra == 0:
        return tuple(range(num_tokens))
    rows = list(range(num_tokens))
    last = _attention_outputs(program)[-1]
    begun = False
    for step in program.steps:
        begun = begun or last in step.inputs
        sizes = step.inputs[0].shape
        if not begun or len(sizes) < 2:
            continue
        # The last axis holds the features.
        axes = [axis for axis, size in enumerate(sizes[:-1]) if size == len(rows)]
        if step.name == "slice" and axes:
            start, limit = (step.params[f"{name}_indices"] for name in ("start", "limit"))
            cut = [axis for axis in axes if limit[axis] - start[axis] < len(rows)]
            rows = rows[start[cut[0]] : limit[cut[0]]] if cut else rows
        reduces = step.inside & {"reduce_sum"} and set(axes) & set(_reduced_axes(step))
        if (len(rows) == 1 and rows[0] < num_extra) or reduces:
            return tuple(rows)
    raise InputError(
        f"which of the {num_tokens} tokens ({num_extra} beside the patches) the logits are read from cannot be seen in "
        "the model: pass token=0 for a class token in front, or token='mean'"
    )


def _reduced_axes(step: Step) -> tuple[int, ...]:
    inner = step.parts[0] if step.parts else step
    return tuple(inner.params.get("axes", ()))


def _as_image(relevance: Array, layout: _Layout, shape: tuple[int, ...]) -> Array:
    """Relevance (T, T) of tokens for tokens -> (H, W, 1): the mean of the rows in `layout.read`, at the patches."""
    rows = np.array(layout.read)
    row = relevance[layout.read[0]] if len(rows) == 1 else jnp.mean(relevance[rows], axis=0)
    low = row[layout.num_extra :].reshape(*layout.grid, 1)
    return jax.image.resize(low, (*shape[:2], 1), "bilinear").astype(relevance.dtype)


@explanation_method
def attention_rollout(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    key: Key | None = None,
    grid: Any = None,
    num_extra_tokens: Any = None,
    token: Any = None,
) -> Array:
    """Attention rollout: the product over layers of A' = (A + I) / 2, A the mean attention of the heads.

    It does not depend on the label.
    Args:
      logits_fn: any JAX vision transformer (attention maps are found in its jaxpr); image, label, key: as `gradient`.
      grid: (rows, columns) of the patches, whose tokens are in reading order; patches may have any shape.
      num_extra_tokens: tokens before those of the patches, such as a class token.
      token: whose row of the relevance is shown: the index of a token, or "mean" for the mean of all rows.
      Defaults are inferred from the model: the grid from how it splits the image (or from the number of tokens, if only
      one grid of equal patches has it), the token from what its classification head reads.

    Returns: (H, W, 1), non-negative, upsampled bilinearly from the patches; differentiable in the image and the
      parameters.
    Raises: InputError as in `score`, for a model without attention, or if more than one grid or token is possible.
    Reference: Abnar and Zuidema 2020, section 3.
    """
    program = trace(lambda z: score(logits_fn, z, label), image)
    values = program.run({program.input: image})
    maps = [_by_head(values[var]) for var in _attention_outputs(program)]
    layout = _layout(program, maps[0].shape[-1], image.shape, grid, num_extra_tokens, token)
    rollout = jnp.eye(maps[0].shape[-1], dtype=maps[0].dtype)
    for attention in maps:
        rollout = (jnp.mean(attention, axis=0) + jnp.eye(len(rollout), dtype=rollout.dtype)) / 2 @ rollout
    return _as_image(rollout, layout, image.shape)


@explanation_method
def attention_relevance(
    logits_fn: LogitsFn,
    image: Array,
    label: Array,
    *,
    key: Key | None = None,
    grid: Any = None,
    num_extra_tokens: Any = None,
    token: Any = None,
) -> Array:
    """Gradient-weighted attention relevance: R <- R + mean_h(max(dA * A, 0)) R over the layers, from R = I.

    dA is the gradient of the logit of `label` with respect to the attention map A.
    Args, Returns, Raises: as `attention_rollout`; it depends on the label.
    Reference: Chefer et al. 2021 (generic attention explainability), equations 5 and 6.
    """
    program = trace(lambda z: score(logits_fn, z, label), image)
    variables = _attention_outputs(program)
    layout = _layout(program, variables[0].shape[-1], image.shape, grid, num_extra_tokens, token)

    def of_offsets(offsets: list[Array]) -> tuple[Array, list[Array]]:
        values = program.run({program.input: image}, add=dict(zip(variables, offsets, strict=True)))
        return values[program.output], [values[var] for var in variables]

    zeros = [jnp.zeros(var.shape, var.dtype) for var in variables]
    gradients, maps = jax.grad(of_offsets, has_aux=True)(zeros)
    relevance = jnp.eye(variables[0].shape[-1], dtype=variables[0].dtype)
    for attention, gradient in zip(maps, gradients, strict=True):
        weighted = jnp.mean(_by_head(jnp.maximum(gradient * attention, 0)), axis=0)
        relevance = relevance + weighted @ relevance
    return _as_image(relevance, layout, image.shape)
