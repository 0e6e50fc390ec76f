"""TFDS builders of data sets that TFDS knows, run on a machine without TensorFlow."""

import contextlib
import glob
import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def local_files(builder: Any) -> Iterator[None]:
    """Lets the builder read its downloads as local files where TensorFlow is not installed.

    All that the builders of MNIST, CIFAR and imagenette want of TensorFlow is its `io.gfile`, to open and list files.
    """
    module = sys.modules.get(type(builder).__module__)
    if module is None or not hasattr(module, "tf") or importlib.util.find_spec("tensorflow") is not None:
        yield
        return
    gfile = types.SimpleNamespace(GFile=open, glob=glob.glob, listdir=os.listdir)
    lazy = module.tf
    module.tf = types.SimpleNamespace(io=types.SimpleNamespace(gfile=gfile))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.tf = lazy  # type: ignore[attr-defined]
