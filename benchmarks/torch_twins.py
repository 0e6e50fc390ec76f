"""PyTorch versions of jsep's models, with the same weights, for the peers to differentiate."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import torch

from jsep import models
from jsep.models.torch_weights import LAYOUTS
from jsep.types import PyTree


class _Normalised(torch.nn.Module):
    """The input normalisation and the activation that the models share."""

    def __init__(self, model: models.Classifier) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(model.mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(model.std).reshape(1, -1, 1, 1))
        self.act = torch.nn.Softplus(beta=float(model.softplus_beta)) if model.activation == "softplus" else torch.relu

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std


class ConvNet(_Normalised):
    """`jsep.models.ConvNet`."""

    def __init__(self, model: models.ConvNet, input_shape: tuple[int, int, int]) -> None:
        super().__init__(model)
        height, width, channels = input_shape
        sizes = [channels, *model.widths]
        self.convs = torch.nn.ModuleList(
            torch.nn.Conv2d(inputs, outputs, 3, stride=1 if index == 0 else 2, padding=1)
            for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes))
        )
        shrink = 2 ** (len(model.widths) - 1)
        self.grid = (-(-height // shrink), -(-width // shrink), sizes[-1])
        self.head = torch.nn.Linear(int(np.prod(self.grid)), model.num_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.normalise(images)
        for conv in self.convs:
            x = self.act(conv(x))
        return self.head(x.flatten(1))

    def load(self, variables: PyTree) -> None:
        """Copies jsep's parameters; the head's rows are reordered to PyTorch's order of pixels and channels."""
        params = variables["params"]
        with torch.no_grad():
            for index, conv in enumerate(self.convs):
                conv.weight.copy_(_tensor(params[f"Conv_{index}"]["kernel"]).permute(3, 2, 0, 1))
                conv.bias.copy_(_tensor(params[f"Conv_{index}"]["bias"]))
            kernel = _tensor(params["head"]["kernel"]).reshape(*self.grid, -1)
            self.head.weight.copy_(kernel.permute(3, 2, 0, 1).flatten(1))
            self.head.bias.copy_(_tensor(params["head"]["bias"]))


class _Block(torch.nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, act: Any) -> None:
        super().__init__()
        self.act = act
        self.conv1, self.bn1 = _conv(inputs, outputs, 3, stride), torch.nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _conv(outputs, outputs, 3, 1), torch.nn.BatchNorm2d(outputs)
        self.shortcut = torch.nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = torch.nn.Sequential(_conv(inputs, outputs, 1, stride), torch.nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        return self.act(y + self.shortcut(x))


class ResNet(_Normalised):
    """`jsep.models.ResNet`, ResNet-18 for CIFAR."""

    def __init__(self, model: models.ResNet, input_shape: tuple[int, int, int]) -> None:
        super().__init__(model)
        inputs = model.width
        self.conv1, self.bn1 = _conv(input_shape[2], inputs, 3, 1), torch.nn.BatchNorm2d(inputs)
        for stage, num_blocks in enumerate(model.stage_sizes):
            blocks = []
            for block in range(num_blocks):
                outputs = model.width * 2**stage
                blocks.append(_Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1, self.act))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", torch.nn.Sequential(*blocks))
        self.stages = len(model.stage_sizes)
        self.linear = torch.nn.Linear(inputs, model.num_classes)
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.act(self.bn1(self.conv1(self.normalise(images))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.linear(x.mean((2, 3)))

    def load(self, variables: PyTree) -> None:
        """Copies jsep's parameters and batch statistics."""
        leaves = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
        own = self.state_dict()
        for ours, theirs in LAYOUTS[type(self.model)](self.model):
            for collection in ("params", "batch_stats"):
                for leaf, value in variables[collection].get(ours, {}).items():
                    name = next(n for t in theirs if (n := f"{t}.{leaves[leaf]}") in own)
                    value = _tensor(value)
                    value = value.permute(3, 2, 0, 1) if value.ndim == 4 else value.T if value.ndim == 2 else value
                    own[name].copy_(value)


def _conv(inputs: int, outputs: int, size: int, stride: int) -> torch.nn.Conv2d:
    return torch.nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


def _tensor(array: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(array))


def twin(
    model: models.Classifier,
    variables: PyTree,
    input_shape: tuple[int, int, int],
    device: torch.device,
    memory_format: torch.memory_format = torch.channels_last,
) -> torch.nn.Module:
    """The PyTorch version of the model on the device, in evaluation mode, with the same weights."""
    kinds: dict[type, Any] = {models.ConvNet: ConvNet, models.ResNet: ResNet}
    made = kinds[type(model)](model, input_shape)
    made.load(variables)
    return made.to(device, memory_format=memory_format).eval()


def images_of(
    images: np.ndarray, device: torch.device, memory_format: torch.memory_format = torch.channels_last
) -> torch.Tensor:
    """Images (B, H, W, C) as a tensor (B, C, H, W)."""
    return torch.tensor(images.transpose(0, 3, 1, 2)).contiguous(memory_format=memory_format).to(device)


def fastest_format(run: Callable[[torch.memory_format], Any]) -> torch.memory_format:
    """The memory format (order of channels) with which `run` is faster here."""
    formats = (torch.channels_last, torch.contiguous_format)
    return harness.fastest({it: functools.partial(run, it) for it in formats})


def labels_of(labels: np.ndarray, device: torch.device) -> torch.Tensor:
    """Labels (B,) as a tensor."""
    return torch.tensor(labels).long().to(device)


def array_of(tensor: torch.Tensor) -> np.ndarray:
    """A tensor on the host; images (B, C, H, W) as (B, H, W, C)."""
    array = tensor.detach().cpu().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def maps_of(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The Gradient x Input maps (B, H, W) of a batch, differentiable in images and parameters."""
    score = network(images).gather(1, labels[:, None]).sum()
    (derivative,) = torch.autograd.grad(score, images, create_graph=True)
    raw = (derivative * images).abs().sum(1)
    return raw / raw.sum((1, 2), keepdim=True)
