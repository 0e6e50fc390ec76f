"""PyTorch modules as JAX functions of their parameters, by torchax, which runs PyTorch's operators on JAX arrays."""

import copy
import functools
import threading
from collections.abc import Callable
from typing import Any

import jax

from jsep.checks import InputError
from jsep.types import Array, PyTree

_LOADING = threading.Lock()


@functools.cache
def _torchax() -> Any:
    """The module torchax, whose tables of operators may name overloads that this PyTorch no longer has.

    torchax 0.0.13 lists those of named tensors, which PyTorch 2.13 has dropped, as keys of tables and never calls them:
    while the tables are built, and for these names alone, something else stands in their place.
    """
    import torch._ops

    known = torch._ops.OpOverloadPacket.__getattr__

    def tolerant(packet: Any, name: str) -> Any:
        try:
            return known(packet, name)
        except AttributeError:
            if "dimname" in name.lower() or "names" in name.split("_"):
                return object()
            raise

    with _LOADING:
        torch._ops.OpOverloadPacket.__getattr__ = tolerant  # type: ignore[method-assign]
        try:
            import torchax

            torchax.default_env()
        except ImportError as error:
            raise InputError(f'a PyTorch module needs {error.name}: pip install "jsep[torch]"') from error
        finally:
            torch._ops.OpOverloadPacket.__getattr__ = known  # type: ignore[method-assign]
    return torchax


def convert(module: Any) -> tuple[Callable[[PyTree, Array], Any], PyTree]:
    """(apply, variables) of a PyTorch module in evaluation mode: apply(variables, images (B, C, H, W)) -> its output.

    variables: name -> array, its floating-point parameters and buffers, copied. The module is copied too, so that the
    caller's stays in its mode.
    Raises: InputError without torchax; apply raises it for an operator that torchax lacks, with the layer that uses it.
    """
    torchax = _torchax()
    try:
        own = copy.deepcopy(module)
    except Exception as error:  # tensors that are results, locks, ...
        raise InputError(f"the PyTorch module cannot be copied ({error}): give one that copy.deepcopy takes") from error
    own.eval()
    for parameter in own.parameters():
        parameter.requires_grad_(False)
    with jax.ensure_compile_time_eval():
        states, function = torchax.extract_jax(own)
    variables = {name: value for name, value in states.items() if jax.numpy.issubdtype(value.dtype, jax.numpy.floating)}
    rest = {name: value for name, value in states.items() if name not in variables}
    return functools.partial(_apply, own, function, rest), variables


def _apply(module: Any, function: Callable[..., Any], rest: PyTree, variables: PyTree, images: Array) -> Any:
    environment = _torchax().default_env()
    before = environment.param.prng
    layers: list[str] = []
    hooks = [hook for name, layer in module.named_modules() for hook in _followed(name, layer, layers)]
    try:
        output = function({**variables, **rest}, (images,))
    except InputError:
        raise
    except Exception as error:  # of torchax, PyTorch or JAX
        raise InputError(_reason(module, layers, error)) from error
    finally:
        for hook in hooks:
            hook.remove()
        drew, environment.param.prng = environment.param.prng is not before, before
    if drew:
        raise InputError("the PyTorch module draws random numbers in evaluation mode: every image would share them")
    return output


def _followed(name: str, layer: Any, layers: list[str]) -> tuple[Any, Any]:
    """Hooks that keep the names of the layers that are running, the innermost last."""

    def enter(*_: Any) -> None:
        layers.append(name)

    def leave(*_: Any) -> None:
        layers.pop()

    return layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave)


def _reason(module: Any, layers: list[str], error: Exception) -> str:
    where = "the module"
    if layers:
        where = f"its layer {layers[-1]!r}, {type(module.get_submodule(layers[-1])).__name__}," if layers[-1] else where
    reason = " ".join(str(error).split())[:200]
    if type(error).__name__ == "OperatorNotFound":
        return (
            f"the PyTorch module cannot run in JAX: {where} uses an operator that torchax lacks ({reason}); replace "
            "that layer by one of other operators"
        )
    return f"the PyTorch module fails in {where} ({type(error).__name__}: {reason})"
