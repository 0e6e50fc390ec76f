"""Preparation of TFDS data sets on machines without TensorFlow."""

import contextlib
import glob
import importlib.util
import io
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np


@contextlib.contextmanager
def without_tensorflow(builder: Any) -> Iterator[None]:
    """A context in which `builder` can prepare its data without TensorFlow; has no effect if TensorFlow is installed.

    The builders of MNIST, CIFAR and imagenette use TensorFlow only to open and list files (`io.gfile`) and to encode
    arrays as PNG; here the standard library and Pillow do so.
    """
    module = sys.modules.get(type(builder).__module__)
    is_prepared = not hasattr(builder, "_generate_examples")  # a read-only builder of prepared data
    if is_prepared or module is None or not hasattr(module, "tf") or importlib.util.find_spec("tensorflow") is not None:
        yield
        return
    gfile = types.SimpleNamespace(GFile=open, glob=glob.glob, listdir=os.listdir)
    lazy, generate = module.tf, builder._generate_examples

    def encoded(*args: Any, **settings: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
        for key, record in generate(*args, **settings):
            image = record["image"]
            yield key, {**record, "image": _as_png(image) if isinstance(image, np.ndarray) else image}

    module.tf = types.SimpleNamespace(io=types.SimpleNamespace(gfile=gfile))  # type: ignore[attr-defined]
    builder._generate_examples = encoded
    try:
        yield
    finally:
        module.tf = lazy  # type: ignore[attr-defined]
        del builder._generate_examples


def _as_png(image: np.ndarray) -> io.BytesIO:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
    file.seek(0)
    return file
