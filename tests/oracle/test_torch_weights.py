"""PyTorch state dicts of the usual CIFAR layouts, written out here, give PyTorch's logits."""

import jax
import numpy as np
import pytest

from jsep import models
from jsep.checks import InputError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch", reason="needs the extra: pip install -e '.[oracle]'")
nn = torch.nn


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1):
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet18(nn.Module):
    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 64), nn.BatchNorm2d(64)
        inputs = 64
        for stage in range(4):
            outputs = 64 * 2**stage
            first = BasicBlock(inputs, outputs, 1 if stage == 0 else 2)
            setattr(self, f"layer{stage + 1}", nn.Sequential(first, BasicBlock(outputs, outputs, 1)))
            inputs = outputs
        self.linear = nn.Linear(512, num_classes)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.linear(x.mean((2, 3)))


class WideBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs)
        self.convShortcut = None if inputs == outputs else conv(inputs, outputs, 1, stride)

    def forward(self, x):
        y = torch.relu(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(y)
        return shortcut + self.conv2(torch.relu(self.bn2(self.conv1(y))))


class Stage(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.layer = nn.Sequential(*blocks)


class WideNet(nn.Module):
    def __init__(self, depth: int, widen: int, num_classes: int = 10, second_copy: bool = True):
        super().__init__()
        self.conv1 = conv(3, 16)
        inputs = 16
        for stage in range(3):
            outputs = 16 * widen * 2**stage
            strides = [1 if stage == 0 else 2] + [1] * ((depth - 4) // 6 - 1)
            blocks = []
            for stride in strides:
                blocks.append(WideBlock(inputs, outputs, stride))
                inputs = outputs
            setattr(self, f"block{stage + 1}", Stage(blocks))
        if second_copy:
            self.sub_block1 = Stage([WideBlock(16, 16 * widen, 1)])
        self.bn1, self.fc = nn.BatchNorm2d(inputs), nn.Linear(inputs, num_classes)

    def forward(self, x):
        x = self.conv1(x)
        for stage in range(3):
            x = getattr(self, f"block{stage + 1}").layer(x)
        return self.fc(torch.relu(self.bn1(x)).mean((2, 3)))


def randomised(twin):
    """Statistics and scales off their initial values: an exchanged or dropped one then shows."""
    torch.manual_seed(0)
    for module in twin.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return twin.eval()


IMAGES = np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype(np.float32)


def check_logits(model, variables, twin) -> None:
    actual = jax.jit(lambda v, x: model.apply(v, x))(variables, IMAGES)
    with torch.no_grad():
        expected = twin(torch.tensor(IMAGES.transpose(0, 3, 1, 2).copy())).numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def resnet():
    model = models.create("resnet18", num_classes=10, input_shape=(32, 32, 3), activation="relu")
    return model, randomised(ResNet18())


@pytest.mark.parametrize("source", ["state dict", "pt", "wrapped pt", "safetensors"])
def test_resnet18_logits_equal_torch_from_every_source(source: str, resnet, tmp_path) -> None:
    model, twin = resnet
    state = twin.state_dict()
    path = tmp_path / ("weights.safetensors" if source == "safetensors" else "weights.pt")
    if source == "pt":
        torch.save(state, path)
    elif source == "wrapped pt":
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}, path)
    elif source == "safetensors":
        save_file = pytest.importorskip("safetensors.torch").save_file
        save_file(state, path)
    variables = models.import_torch(state if source == "state dict" else path, model, (32, 32, 3))
    check_logits(model, variables, twin)


@pytest.mark.long
@pytest.mark.parametrize(("name", "depth"), [("wrn_28_10", 28), ("wrn_34_10", 34)])
def test_wide_resnet_logits_equal_torch(name: str, depth: int) -> None:
    twin = randomised(WideNet(depth, 10))
    model = models.create(name, num_classes=10, input_shape=(32, 32, 3), activation="relu")
    check_logits(model, models.import_torch(twin.state_dict(), model, (32, 32, 3)), twin)


def test_normalisation_in_the_state_dict_must_be_the_models(resnet) -> None:
    model, twin = resnet
    state = {f"model.{name}": value for name, value in twin.state_dict().items()}
    state |= {"mean": torch.tensor([0.4, 0.5, 0.6])[:, None, None], "std": torch.tensor([0.2, 0.2, 0.3])[:, None, None]}
    with pytest.raises(
        InputError, match=r"normalises its input by mean \(0.4, 0.5, 0.6\): pass mean=\(0.4, 0.5, 0.6\)"
    ):
        models.import_torch(state, model, (32, 32, 3))
    same = model.clone(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3))
    assert set(models.import_torch(state, same, (32, 32, 3))) == {"params", "batch_stats"}


def test_what_does_not_fit_is_named(resnet, tmp_path) -> None:
    model, twin = resnet
    state = twin.state_dict()
    with pytest.raises(InputError, match=r"import_torch knows the layouts of ResNet, WideResNet, not of ConvNet"):
        models.import_torch(state, models.create("convnet", num_classes=10, input_shape=(32, 32, 3)), (32, 32, 3))
    with pytest.raises(
        InputError, match=r"the state dict has no layer1\.0\.conv1\.weight; its names are conv1\.weight"
    ):
        models.import_torch({k: v for k, v in state.items() if "layer1.0.conv1" not in k}, model, (32, 32, 3))
    with pytest.raises(InputError, match=r"holds 1 arrays that ResNet has not: extra\.weight"):
        models.import_torch({**state, "extra.weight": torch.zeros(3)}, model, (32, 32, 3))
    with pytest.raises(InputError, match=r"linear.bias must have the shape \(7,\) in our order, got \(10,\)"):
        models.import_torch(state, model.clone(num_classes=7), (32, 32, 3))
    damaged = tmp_path / "weights.pt"
    damaged.write_bytes(b"not weights")
    with pytest.raises(InputError, match="cannot be read as PyTorch weights"):
        models.import_torch(damaged, model, (32, 32, 3))


def test_file_that_would_run_code_is_refused(resnet, tmp_path) -> None:
    path = tmp_path / "whole_model.pt"
    torch.save(resnet[1], path)  # a pickled module, not a state dict
    with pytest.raises(InputError, match="cannot be read as PyTorch weights"):
        models.import_torch(path, resnet[0], (32, 32, 3))
