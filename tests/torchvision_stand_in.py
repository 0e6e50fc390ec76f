"""Loads PyTorch libraries that want a torchvision beside them."""

import importlib.machinery
import sys
import types
from typing import Any

import torch


def empty_class(name: str) -> type:
    if name.startswith("__"):  # tools ask every module for its __file__
        raise AttributeError(name)
    return type(name, (torch.nn.Module,), {})


def stand_in_for_torchvision() -> None:
    """zennit imports torchvision for the names of its classes alone, and a torchvision that was built for another torch
    does not load: empty classes then take its place."""
    try:
        import torchvision  # noqa: F401
    except Exception:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("torchvision", "torchvision.models", "torchvision.models.resnet", "torchvision.models.vgg"):
            module: Any = types.ModuleType(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None)
            module.__getattr__ = empty_class
            sys.modules[name] = module
