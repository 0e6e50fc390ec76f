"""Import of PyTorch weights from state dicts in the layouts usual on CIFAR."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jsep.checks import InputError
from jsep.models.layers import Classifier
from jsep.models.resnet import ResNet
from jsep.models.wide_resnet import WideResNet
from jsep.types import PyTree

Entry = tuple[str, tuple[str, ...]]
"""(name of the Flax module, possible names of the PyTorch module)."""

# Entries that do not affect the logits: counters, and the unused second copy of the first stage in some Wide ResNets of
# TRADES.
_IGNORED = ("num_batches_tracked", "sub_block1.")
_NORMALISATION = {"mean": "mean", "mu": "mean", "std": "std", "sigma": "std"}


def _resnet_layout(model: Classifier) -> Iterator[Entry]:
    assert isinstance(model, ResNet)
    count = iter(range(1000))

    def pair(convolution: tuple[str, ...], norm: tuple[str, ...]) -> Iterator[Entry]:
        index = next(count)
        yield f"Conv_{index}", convolution
        yield f"BatchNorm_{index}", norm

    yield from pair(("conv1",), ("bn1",))
    for stage, num_blocks in enumerate(model.stage_sizes):
        for block in range(num_blocks):
            name = f"layer{stage + 1}.{block}"
            yield from pair((f"{name}.conv1",), (f"{name}.bn1",))
            yield from pair((f"{name}.conv2",), (f"{name}.bn2",))
            if stage > 0 and block == 0:
                yield from pair(
                    (f"{name}.shortcut.0", f"{name}.downsample.0"), (f"{name}.shortcut.1", f"{name}.downsample.1")
                )
    yield "head", ("linear", "fc")


def _wide_resnet_layout(model: Classifier) -> Iterator[Entry]:
    assert isinstance(model, WideResNet)
    convolutions, norms = (iter(range(1000)) for _ in range(2))
    yield f"Conv_{next(convolutions)}", ("conv1",)
    for stage in range(3):
        for block in range((model.depth - 4) // 6):
            name = f"block{stage + 1}.layer.{block}"
            yield f"BatchNorm_{next(norms)}", (f"{name}.bn1",)
            if block == 0 and (stage > 0 or model.widen > 1):
                yield f"Conv_{next(convolutions)}", (f"{name}.convShortcut",)
            yield f"Conv_{next(convolutions)}", (f"{name}.conv1",)
            yield f"BatchNorm_{next(norms)}", (f"{name}.bn2",)
            yield f"Conv_{next(convolutions)}", (f"{name}.conv2",)
    yield f"BatchNorm_{next(norms)}", ("bn1",)
    yield "head", ("fc", "linear")


LAYOUTS: dict[type[Classifier], Callable[[Classifier], Iterator[Entry]]] = {
    ResNet: _resnet_layout,
    WideResNet: _wide_resnet_layout,
}
"""model class -> function (model) -> entries of all its modules, in any order."""


def import_torch(
    source: str | Path | Mapping[str, Any], model: Classifier, input_shape: tuple[int, int, int]
) -> PyTree:
    """Converts a PyTorch state dict into variables of `model` that give the same logits.

    The layouts are those of the usual CIFAR ResNet-18 (conv1, layer1.0.conv1, ..., linear) and of the Wide ResNets of
    TRADES and RobustBench (conv1, block1.layer.0.conv1, ..., fc). Prefixes such as "module." are removed, and a state
    dict nested under "state_dict", "model" or "net" is found.

    Args:
      source: a .safetensors file (needs safetensors), a .pt or .pth file (needs torch; loaded with weights_only, which
        executes no code), or a state dict: name -> array or tensor.
      model: of `models.create`, with the activation that the weights were trained with. If the state dict holds the
        input normalisation (mean and std, or mu and sigma), the model must have the same.
      input_shape: (H, W, C).

    Returns: {"params": ..., "batch_stats": ...}, float32.
    Raises: InputError for an unsupported model class, an unreadable file, or the first name, shape or normalisation
      that does not match.
    """
    if type(model) not in LAYOUTS:
        known = ", ".join(kind.__name__ for kind in LAYOUTS)
        raise InputError(f"import_torch knows the layouts of {known}, not of {type(model).__name__}")
    state = _arrays(_read(source) if isinstance(source, str | Path) else source)
    _check_normalisation(state, model)
    some_key = jax.ShapeDtypeStruct((2,), jnp.uint32)  # abstract: only shapes are computed
    shapes = jax.eval_shape(model.init, some_key, jnp.zeros((1, *input_shape)))
    variables: dict[str, dict[str, dict[str, Any]]] = {"params": {}, "batch_stats": {}}
    used: set[str] = set()
    for ours, theirs in LAYOUTS[type(model)](model):
        name = next((name for name in theirs if f"{name}.weight" in state), None)
        if name is None:
            raise InputError(f"the state dict has no {' or '.join(f'{t}.weight' for t in theirs)}; {_sample(state)}")
        for collection in variables:
            for leaf, shape in shapes[collection].get(ours, {}).items():
                key = f"{name}.{_TORCH_LEAVES[leaf]}"
                if key not in state:
                    raise InputError(f"the state dict has no {key}; {_sample(state)}")
                value = _transposed(state[key])
                if value.shape != shape.shape:
                    raise InputError(f"{key} must have the shape {shape.shape} in our order, got {value.shape}")
                variables[collection].setdefault(ours, {})[leaf] = jnp.asarray(value, jnp.float32)
                used.add(key)
    left = sorted(key for key in state if key not in used and not any(part in key for part in _IGNORED))
    if left:
        raise InputError(f"the state dict holds {len(left)} arrays that {type(model).__name__} has not: {left[0]}, ...")
    return variables


_TORCH_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def _transposed(array: np.ndarray) -> np.ndarray:
    """(F, C, k, k) -> (k, k, C, F) and (out, in) -> (in, out)."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def _read(path: str | Path) -> Mapping[str, Any]:
    path = Path(path).expanduser()
    try:
        if path.suffix == ".safetensors":
            import safetensors.numpy

            return safetensors.numpy.load_file(path)
        import torch

        return torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise InputError(f"reading {path.name} needs {error.name}: pip install {error.name}") from error
    except Exception as error:  # each reader raises its own types
        raise InputError(f"{path} cannot be read as PyTorch weights ({type(error).__name__}: {error})") from error


_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "model.", "net.", "_orig_mod.")  # from DataParallel, wrapper modules and torch.compile


def _arrays(loaded: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """name -> array, after unwrapping nested state dicts and removing known prefixes."""
    while wrappers := [name for name in _WRAPPERS if isinstance(loaded.get(name), Mapping)]:
        loaded = loaded[wrappers[0]]
    state = {}
    for name, value in loaded.items():
        if not hasattr(value, "shape"):
            raise InputError(f"a state dict holds arrays by name, got {type(value).__name__} under {name!r}")
        while prefixes := [prefix for prefix in _PREFIXES if name.startswith(prefix)]:
            name = name.removeprefix(prefixes[0])
        # NumPy has no bfloat16.
        value = value.detach().float() if hasattr(value, "detach") else value
        state[name] = np.asarray(value)
    return state


def _check_normalisation(state: dict[str, np.ndarray], model: Classifier) -> None:
    for name in [name for name in state if name.rsplit(".", 1)[-1] in _NORMALISATION]:
        field = _NORMALISATION[name.rsplit(".", 1)[-1]]
        values = state.pop(name).astype(np.float64).ravel()
        own = np.asarray(getattr(model, field), np.float64)
        if not np.allclose(values, own, atol=1e-4):
            shown = ", ".join(f"{value:.4g}" for value in values)
            raise InputError(
                f"the state dict normalises its input by {field} ({shown}): pass {field}=({shown}) to models.create"
            )


def _sample(state: dict[str, np.ndarray]) -> str:
    names = list(state)
    return f"its names are {', '.join(names[:3])}, ..." if names else "it is empty"
