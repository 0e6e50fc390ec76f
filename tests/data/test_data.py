"""Data sets: splits, real files, .npz files, and every bad input."""

import hashlib
import pathlib
import shutil
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jsep import data
from jsep.checks import InputError
from jsep.data import tensorflow_datasets

INFO = data.DatasetInfo("made up", 3, (2, 2, 1), (0.5,), (0.25,), ("a", "b", "c"), augment=False)


# Digits.


@pytest.fixture(scope="module")
def splits() -> dict[str, data.Dataset]:
    return {split: data.load("digits", split=split) for split in ("train", "validation", "test")}


def test_digits_splits_hold_all_1797_images_once(splits: dict[str, data.Dataset]) -> None:
    from sklearn.datasets import load_digits

    assert {name: len(split) for name, split in splits.items()} == {"train": 1197, "validation": 200, "test": 400}
    mine = np.concatenate([split.images[..., 0] for split in splits.values()]).reshape(1797, 64)
    source = load_digits()
    order, expected_order = np.lexsort(mine.T), np.lexsort(source.images.reshape(1797, 64).T)
    np.testing.assert_array_equal(mine[order] * 16, source.images.reshape(1797, 64)[expected_order])
    labels = np.concatenate([split.labels for split in splits.values()])
    np.testing.assert_array_equal(labels[order], source.target[expected_order])
    assert len(np.unique(mine, axis=0)) == 1797, "equal images would make the splits' disjointness untestable"


def test_digits_splits_are_stratified(splits: dict[str, data.Dataset]) -> None:
    counts = {name: np.bincount(split.labels, minlength=10) for name, split in splits.items()}
    total = sum(counts.values())
    for name, split in splits.items():
        assert np.all(np.abs(counts[name] - total * len(split) / 1797) < 1.5)


def test_digits_splits_are_the_same_on_every_machine(splits: dict[str, data.Dataset]) -> None:
    digests = {
        name: hashlib.sha256(split.labels.astype("<i4").tobytes() + split.images.astype("<f4").tobytes()).hexdigest()
        for name, split in splits.items()
    }
    assert {name: digest[:12] for name, digest in digests.items()} == {
        "train": "b74d8b1cebd7",
        "validation": "f22c424b28cb",
        "test": "47730f065e43",
    }


def test_digits_are_float32_in_the_unit_interval_with_the_recorded_mean(splits: dict[str, data.Dataset]) -> None:
    train = splits["train"]
    assert train.images.dtype == np.float32
    assert (train.images.min(), train.images.max()) == (0, 1)
    assert train.images.mean() == pytest.approx(train.info.mean[0], abs=2e-3)
    assert train.images.std() == pytest.approx(train.info.std[0], abs=2e-3)
    assert train.labels.dtype == np.int32


def test_max_images_takes_the_first_ones(splits: dict[str, data.Dataset]) -> None:
    few = data.load("digits", split="test", max_images=7)
    np.testing.assert_array_equal(few.images, splits["test"].images[:7])


# TensorFlow Datasets.

FIRST_LABELS = {"mnist": [4, 1, 0, 7, 8], "fashion_mnist": None, "cifar10": [7, 8, 4, 4, 6], "cifar100": None}


@pytest.mark.parametrize("name", FIRST_LABELS)
def test_tfds_splits_on_the_real_data(name: str, tfds_dir: str) -> None:
    info = tensorflow_datasets.INFOS[name]
    train = data.load(name, data_dir=tfds_dir, split="train", max_images=40)
    validation = data.load(name, data_dir=tfds_dir, split="validation", max_images=40)
    test = data.load(name, data_dir=tfds_dir, split="test", max_images=40)
    if FIRST_LABELS[name] is not None:
        assert train.labels[:5].tolist() == FIRST_LABELS[name]
    for split in (train, validation, test):
        assert split.images.shape == (40, *info.image_shape)
        assert split.images.dtype == np.uint8
        assert split.images.max() > 200
        assert len(np.unique(split.labels)) > 5
        np.testing.assert_array_equal(split.as_float(), split.images / np.float32(255))
        assert split.as_float().dtype == np.float32
    stacked = np.concatenate([split.images.reshape(40, -1) for split in (train, validation, test)])
    assert len(np.unique(stacked, axis=0)) == 120


@pytest.mark.parametrize(("name", "total"), [("mnist", 60_000), ("cifar10", 50_000)])
def test_tfds_full_sizes_on_the_real_data(name: str, total: int, tfds_dir: str) -> None:
    with tensorflow_datasets.quiet_reader():
        assert len(tensorflow_datasets.open_tfds(name, tfds_dir, "train")) == total
        assert len(tensorflow_datasets.open_tfds(name, tfds_dir, "test")) == 10_000


def test_tfds_validation_split_on_the_real_data_is_the_last_thousand(tfds_dir: str) -> None:
    validation = data.load("mnist", data_dir=tfds_dir, split="validation")
    assert len(validation) == 1000
    with tensorflow_datasets.quiet_reader():
        record = tensorflow_datasets.open_tfds("mnist", tfds_dir, "train").__getitems__([59_999])[0]
    np.testing.assert_array_equal(validation.images[-1], record["image"])
    assert validation.labels[-1] == record["label"]


class FakeSource:
    """Records which records are read; record i is an image of zeros with label i % 10."""

    def __init__(self, total: int) -> None:
        self.total, self.read = total, []

    def __len__(self) -> int:
        return self.total

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        self.read += indices
        return [{"image": np.zeros((28, 28, 1), np.uint8), "label": i % 10} for i in indices]


@pytest.mark.parametrize("max_images", [None, 1500])
def test_tfds_training_and_validation_records_are_disjoint_and_cover_all(
    monkeypatch: pytest.MonkeyPatch, max_images: int | None
) -> None:
    sources = {"train": FakeSource(50_000), "validation": FakeSource(50_000), "test": FakeSource(10_000)}
    opened = []
    for split, source in sources.items():
        monkeypatch.setattr(
            tensorflow_datasets, "open_tfds", lambda name, data_dir, tfds, source=source: opened.append(tfds) or source
        )
        loaded = data.load("mnist", split=split, max_images=max_images)
        assert len(loaded) == len(source.read)
        np.testing.assert_array_equal(loaded.labels, np.array(source.read) % 10)
    assert opened == ["train", "train", "test"]
    if max_images is None:
        assert sources["train"].read == list(range(49_000))
        assert sources["validation"].read == list(range(49_000, 50_000))
        assert sources["test"].read == list(range(10_000))
    else:
        assert sources["train"].read == list(range(1500))
        assert sources["validation"].read == list(range(49_000, 50_000))
        assert sources["test"].read == list(range(1500))


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_damaged_tfds_file_is_a_one_line_input_error(keep: float, tfds_dir: str, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "tfds" / "mnist" / "3.0.1"
    copy.mkdir(parents=True)
    for file in (pathlib.Path(tfds_dir) / "mnist" / "3.0.1").iterdir():
        if "train" not in file.name:
            shutil.copyfile(file, copy / file.name)
    damaged = copy / "mnist-test.array_record-00000-of-00001"
    damaged.write_bytes(damaged.read_bytes()[: int(keep * damaged.stat().st_size)])
    with pytest.raises(InputError, match="mnist") as caught:
        data.load("mnist", data_dir=str(tmp_path / "tfds"), split="test")
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    assert "remove a damaged copy" in message or "replace them" in message


def test_damaged_tfds_record_is_a_one_line_input_error(tfds_dir: str, tmp_path: pathlib.Path) -> None:
    copy = tmp_path / "mnist" / "3.0.1"
    copy.mkdir(parents=True)
    for file in (pathlib.Path(tfds_dir) / "mnist" / "3.0.1").iterdir():
        if "train" not in file.name:
            shutil.copyfile(file, copy / file.name)
    damaged = copy / "mnist-test.array_record-00000-of-00001"
    content = bytearray(damaged.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 100_000] = b"\xaa" * 100_000
    damaged.write_bytes(content)
    with pytest.raises(InputError, match="the files are damaged: replace them") as caught:
        data.load("mnist", data_dir=str(tmp_path), split="test")
    assert "\n" not in str(caught.value)


def test_missing_data_dir_is_an_input_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="data_dir: expected an existing TFDS directory, got '.*nowhere'"):
        data.load("cifar10", data_dir=str(tmp_path / "nowhere"), split="train")


# .npz files.


def arrays(num_train: int = 100, num_test: int = 10, **change: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {
        "x_train": rng.integers(0, 256, (num_train, 4, 5, 3), dtype=np.uint8),
        "y_train": np.arange(num_train) % 4,
        "x_test": rng.integers(0, 256, (num_test, 4, 5, 3), dtype=np.uint8),
        "y_test": np.arange(num_test) % 4,
    }
    return {key: value for key, value in (made | change).items() if value is not None}


def save(path: pathlib.Path, **content: np.ndarray) -> str:
    np.savez(path / "made.npz", **content)
    return str(path / "made.npz")


@hypothesis.settings(max_examples=10, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(num_train=st.integers(4, 200), column=st.booleans(), kind=st.sampled_from(["uint8", "float"]))
def test_npz_round_trip_gives_every_image_once(tmp_path: pathlib.Path, num_train: int, column: bool, kind: str) -> None:
    content = arrays(num_train)
    if column:
        content |= {key: content[key][:, None] for key in ("y_train", "y_test")}
    if kind == "float":
        content |= {key: content[key] / 255.0 for key in ("x_train", "x_test")}
    path = save(tmp_path, **content)
    splits = {split: data.load(path, split=split) for split in ("train", "validation", "test")}
    images = np.concatenate([splits[split].images for split in ("train", "validation")])
    labels = np.concatenate([splits[split].labels for split in ("train", "validation")])
    dtype = np.uint8 if kind == "uint8" else np.float32
    assert images.dtype == dtype
    np.testing.assert_array_equal(images, content["x_train"].astype(dtype))
    np.testing.assert_array_equal(labels, content["y_train"].ravel())
    np.testing.assert_array_equal(splits["test"].images, content["x_test"].astype(dtype))
    assert len(splits["validation"]) == max(1, round(0.02 * num_train))
    assert splits["test"].info.num_classes == 4
    assert splits["test"].info.augment


def test_npz_grey_images_get_a_channel_and_no_augmentation(tmp_path: pathlib.Path) -> None:
    grey = {key: arrays()[key][..., 0] for key in ("x_train", "x_test")}
    test = data.load(save(tmp_path, **arrays(**grey)), split="test", max_images=3)
    assert test.images.shape == (3, 4, 5, 1)
    assert not test.info.augment


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_train": None}, "expected the arrays x_train, y_train, x_test and y_test; missing y_train"),
        ({"y_train": np.arange(100) % 4 - 1}, r"labels must be in 0 \.\. 2, got -1"),
        ({"x_train": np.full((100, 4, 5, 3), 7.0)}, r"float images must be in \[0, 1\], got \[7, 7\]"),
        ({"x_train": np.full((100, 4, 5, 3), np.nan)}, r"float images must be in \[0, 1\], got \[nan, nan\]"),
        ({"x_train": np.zeros((100, 20), np.uint8)}, r"x_train must have shape \(B, H, W\)"),
        ({"y_train": np.arange(60) % 4}, r"y_train must hold one label for each of 100 images, got shape \(60,\)"),
        ({"y_train": np.arange(120) % 4}, r"y_train must hold one label for each of 100 images, got shape \(120,\)"),
        ({"y_train": np.arange(100) % 4 + 0.5}, "y_train must hold integers, got dtype float64"),
        ({"y_train": np.zeros((100, 4), np.int64)}, r"got shape \(100, 4\)"),
        ({"x_train": np.zeros((0, 4, 5, 3), np.uint8), "y_train": np.zeros(0, np.int64)}, "there are no images"),
        ({"y_train": np.array(["cat"] * 100)}, "y_train must hold integers, got dtype <U3"),
        ({"y_train": np.zeros((), np.int64)}, r"got shape \(\)"),
        ({"x_train": np.full((100, 4, 5, 3), "a")}, "images must be uint8, or float32 .* got dtype <U1"),
        ({"x_train": np.zeros((100, 4, 5, 3), np.int64)}, "images must be uint8, or float32 .* got dtype int64"),
    ],
)
def test_bad_npz_content_is_a_one_line_input_error(tmp_path: pathlib.Path, change: dict, message: str) -> None:
    path = save(tmp_path, **arrays(**change))
    with pytest.raises(InputError, match=message) as caught:
        data.load(path, split="train")
    assert "\n" not in str(caught.value)
    assert "made.npz" in str(caught.value)


def test_npz_test_labels_beyond_the_training_classes_are_an_input_error(tmp_path: pathlib.Path) -> None:
    path = save(tmp_path, **arrays(y_test=np.arange(10)))
    with pytest.raises(InputError, match=r"\(test\): labels must be in 0 \.\. 3, got 0 \.\. 9"):
        data.load(path, split="test")


def test_object_arrays_are_refused(tmp_path: pathlib.Path) -> None:
    ragged = np.array([np.zeros(3), np.zeros(4)] * 50, dtype=object)
    with pytest.raises(InputError, match=r"not a readable \.npz file"):
        data.load(save(tmp_path, **arrays(x_train=ragged)), split="train")


def test_extra_test_labels_are_refused_even_when_few_images_are_read(tmp_path: pathlib.Path) -> None:
    path = save(tmp_path, **arrays(y_test=np.arange(20) % 4))
    with pytest.raises(InputError, match="y_test must hold one label for each of 10 images"):
        data.load(path, split="test", max_images=5)


def test_npy_file_called_npz_is_an_input_error(tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "made.npy", np.zeros(3))
    path = (tmp_path / "made.npy").rename(tmp_path / "made.npz")
    with pytest.raises(InputError, match=r"not a readable \.npz file"):
        data.load(str(path), split="train")


@pytest.mark.parametrize("content", [b"", b"not a zip", "truncated"])
def test_damaged_npz_is_a_one_line_input_error(tmp_path: pathlib.Path, content: Any) -> None:
    path = pathlib.Path(save(tmp_path, **arrays()))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == "truncated" else content)
    with pytest.raises(InputError, match=r"not a readable \.npz file") as caught:
        data.load(str(path), split="train")
    assert "\n" not in str(caught.value)


def test_npz_with_a_damaged_array_is_a_one_line_input_error(tmp_path: pathlib.Path) -> None:
    path = pathlib.Path(save(tmp_path, **arrays()))
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(255 - byte for byte in content[2000:2100])  # inside x_train: its checksum is wrong
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a readable \.npz file"):
        data.load(str(path), split="train")


def test_missing_npz_is_an_input_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.npz: no such file"):
        data.load(str(tmp_path / "nothing.npz"), split="train")


# Names, counts, the Dataset itself.


def test_unknown_name_lists_the_known_ones_and_suggests_the_nearest() -> None:
    with pytest.raises(
        InputError, match="unknown data set 'cifar11': expected one of digits, mnist, .*did you mean 'cifar10"
    ):
        data.load("cifar11", split="train")
    with pytest.raises(InputError, match="unknown split 'val': expected one of train, validation, test"):
        data.load("digits", split="val")
    with pytest.raises(InputError, match=r"give the path of an \.npz file"):
        data.load("<path>.npz", split="train")
    with pytest.raises(InputError, match="max_images must be an integer >= 1, got 0"):
        data.load("digits", split="train", max_images=0)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 2, 2)), np.zeros(2, int), r"images must have shape \(B, 2, 2, 1\), got \(2, 2, 2\)"),
        (np.zeros((2, 3, 2, 1)), np.zeros(2, int), r"images must have shape \(B, 2, 2, 1\)"),
        (np.zeros((2, 2, 2, 1)), np.zeros(2, int), "images must be uint8, or float32 .* got dtype float64"),
        (np.zeros((2, 2, 2, 1), object), np.zeros(2, int), "got dtype object"),
        (
            np.full((2, 2, 2, 1), 1.5, np.float32),
            np.zeros(2, int),
            r"float images must be in \[0, 1\], got \[1.5, 1.5\]",
        ),
        (np.zeros((2, 2, 2, 1), np.uint8), np.array([0, 3]), r"labels must be in 0 \.\. 2, got 0 \.\. 3"),
        (np.zeros((2, 2, 2, 1), np.uint8), np.zeros(3, int), "got 2 images and labels of shape"),
        (np.zeros((2, 2, 2, 1), np.uint8), np.zeros(2), "labels must be integers"),
    ],
)
def test_dataset_that_does_not_fit_is_an_input_error(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=r"made up \(train\): .*" + message):
        data.Dataset(images, labels, INFO, "train")


@hypothesis.given(st.integers(1, 80), st.integers(0, 1000))
def test_stratified_subset_keeps_every_share_within_one_image(num_images: int, seed: int) -> None:
    labels = np.repeat([0, 1, 2], [40, 10, 20]).astype(np.int32)
    images = np.arange(70, dtype=np.uint8)[:, None, None, None] * np.ones((2, 2, 1), np.uint8)
    whole = data.Dataset(images, labels, INFO, "train")
    part = data.stratified_subset(whole, num_images, seed=seed)
    taken = part.images[:, 0, 0, 0]
    assert len(part) == min(num_images, 70)
    assert len(np.unique(taken)) == len(part), "an image was drawn twice"
    np.testing.assert_array_equal(part.labels, labels[taken])
    share = np.bincount(part.labels, minlength=3) - len(part) * np.array([40, 10, 20]) / 70
    assert np.all(np.abs(share) <= 1 + 1e-9)
    np.testing.assert_array_equal(taken, data.stratified_subset(whole, num_images, seed=seed).images[:, 0, 0, 0])
