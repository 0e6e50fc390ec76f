"""Torch on one core: each of the two workers has one, and threads that wait for another spin."""

import contextlib

with contextlib.suppress(ImportError):  # the oracle extra
    import torch

    torch.set_num_threads(1)
