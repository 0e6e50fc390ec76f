"""Data that are prepared once: our TFDS builder of TinyImageNet, imagenette's squares, the memory-mapped .npz."""

import io
import pathlib
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image
from script_runs import call

from jsep import data
from jsep.checks import InputError
from jsep.data import dataset as dataset_module
from jsep.data import tensorflow_datasets, tiny_imagenet
from jsep.data.records import RecordImages

ROOT = "tiny-imagenet-200"
WNIDS = ("n02", "n01", "n03")


def colour_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(40, 216, 3)


def jpeg(number: int, mode: str = "RGB") -> bytes:
    """One colour all over: what JPEG keeps to within a few levels."""
    image = Image.fromarray(np.tile(colour_of(number), (64, 64, 1)).astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


def write_archive(directory: pathlib.Path) -> None:
    """The official layout in two parts: 3 classes, 4 training images each (one grey), 2 to validate."""
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(directory / "train.zip", "w") as archive:
        archive.writestr(f"{ROOT}/wnids.txt", "\n".join(WNIDS) + "\n")
        archive.writestr(f"{ROOT}/words.txt", "n01\tgoldfish, Carassius\nn02\tcrane\nn03\tcrane, bird\nn09\tother\n")
        for label, wnid in enumerate(WNIDS):
            archive.writestr(f"{ROOT}/train/{wnid}/{wnid}_boxes.txt", "")
            for index in range(4):
                mode = "L" if (label, index) == (0, 0) else "RGB"
                archive.writestr(f"{ROOT}/train/{wnid}/images/{wnid}_{index}.JPEG", jpeg(10 * label + index, mode))
    with zipfile.ZipFile(directory / "val.zip", "w") as archive:
        lines = [f"val_{index}.JPEG\t{WNIDS[2 - index]}\t0\t0\t62\t62" for index in range(2)]
        archive.writestr(f"{ROOT}/val/val_annotations.txt", "\n".join(lines) + "\n")
        for index in range(2):
            archive.writestr(f"{ROOT}/val/images/val_{index}.JPEG", jpeg(100 + index))


def test_tiny_imagenet_is_prepared_from_the_archive_without_tensorflow(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorflow_datasets, "_NUM_VALIDATION", 5)
    write_archive(tmp_path / "tiny_imagenet")
    splits = {
        split: data.load("tiny_imagenet", data_dir=str(tmp_path), split=split)
        for split in ("train", "validation", "test")
    }
    assert "tensorflow" not in sys.modules
    assert {split: len(dataset) for split, dataset in splits.items()} == {"train": 7, "validation": 5, "test": 2}
    info = splits["test"].info
    assert (info.num_classes, info.image_shape) == (3, (64, 64, 3))
    assert info.class_names == ("crane (0)", "goldfish", "crane (2)")
    # Every training image is there once, with its label; the grey one has three equal channels.
    seen = set()
    for split in ("train", "validation"):
        for image, label in zip(splits[split].images, splits[split].labels, strict=True):
            near = [index for index in range(4) if np.abs(image.mean((0, 1)) - colour_of(10 * label + index)).max() < 4]
            seen.add((int(label), near[0]) if near else (int(label), 0))
            if not near:
                np.testing.assert_array_equal(image[..., 0], image[..., 2])
    assert seen == {(label, index) for label in range(3) for index in range(4)}
    for image, label in zip(splits["test"].images, splits["test"].labels, strict=True):
        assert np.abs(image.mean((0, 1)) - colour_of(102 - label)).max() < 4
    # The prepared copy serves without the archive.
    for path in (tmp_path / "tiny_imagenet").glob("*.zip"):
        path.unlink()
    again = data.load("tiny_imagenet", data_dir=str(tmp_path), split="test")
    np.testing.assert_array_equal(again.images, splits["test"].images)
    assert again.info == info


def test_archive_without_its_class_list_is_a_one_line_input_error(tmp_path: pathlib.Path) -> None:
    with zipfile.ZipFile(tmp_path / "part.zip", "w") as archive:
        archive.writestr(f"{ROOT}/train/n01/images/n01_0.JPEG", jpeg(0))
    with pytest.raises(InputError, match=r"part\.zip: tiny-imagenet-200/words\.txt is missing"):
        data.load("tiny_imagenet", data_dir=str(tmp_path), split="test")


def test_other_zip_files_are_not_taken_for_the_archive(tmp_path: pathlib.Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    assert tiny_imagenet.find_archives(str(tmp_path)) == []
    assert tiny_imagenet.find_archives(None) == []


class FakeRecords:
    """Records as TFDS gives them."""

    def __init__(self, images: list[np.ndarray]):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> list[dict]:
        return [{"image": self.images[index], "label": index % 10} for index in indices]


def test_imagenette_images_become_squares_of_their_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    # A white middle square between black bars, lying and standing, becomes white.
    lying, standing = np.zeros((160, 240, 3), np.uint8), np.zeros((250, 160, 3), np.uint8)
    lying[:, 40:200], standing[45:205] = 255, 255
    asked = []

    def open_fake(name: str, data_dir: str | None, part: str) -> FakeRecords:
        asked.append((name, part))
        return FakeRecords([lying, standing])

    monkeypatch.setattr(tensorflow_datasets, "open_tfds", open_fake)
    test = data.load("imagenette", split="test")
    assert asked == [("imagenette/160px-v2", "validation")]
    assert test.images.shape == (2, 96, 96, 3)
    assert test.images.min() > 250
    assert test.labels.tolist() == [0, 1]


def test_saved_npz_gives_the_same_splits_back_mapped_into_memory(tmp_path: pathlib.Path) -> None:
    splits = {split: data.load("digits", split=split) for split in ("train", "validation", "test")}
    path = tmp_path / "digits.npz"
    written: list[int] = []
    data.save_npz(path, splits, on_progress=written.append)
    assert sum(written) == sum(map(len, splits.values()))
    for split, dataset in splits.items():
        again = data.load(str(path), split=split)
        assert isinstance(again.images, np.memmap)
        np.testing.assert_array_equal(again.images, dataset.images)
        np.testing.assert_array_equal(again.labels, dataset.labels)
        assert again.info == dataset.info
    few = data.load(str(path), split="validation", max_images=3)
    np.testing.assert_array_equal(few.images, splits["validation"].images[:3])
    assert [file.name for file in tmp_path.iterdir()] == ["digits.npz"]


def test_streamed_records_are_the_images_in_memory(tfds_dir: str, tmp_path: pathlib.Path) -> None:
    inside = data.load("cifar10", data_dir=tfds_dir, split="validation", stream=False)
    outside = data.load("cifar10", data_dir=tfds_dir, split="validation", stream=True)
    assert isinstance(outside.images, RecordImages)
    assert outside.images.nbytes == inside.images.nbytes
    assert (len(outside), outside.images.shape) == (1000, (1000, 32, 32, 3))
    np.testing.assert_array_equal(outside.labels, inside.labels)
    chosen = np.array([7, 999, 7, 0])
    np.testing.assert_array_equal(outside.images[chosen], inside.images[chosen])
    np.testing.assert_array_equal(outside.images[3], inside.images[3])
    few, same = (dataset.take(chosen) for dataset in (outside, inside))
    assert isinstance(few.images, RecordImages)
    np.testing.assert_array_equal(few.as_float(), same.as_float())
    assert few.image_sum() == same.image_sum() > 0
    # And so they are written, a piece at a time.
    data.save_npz(tmp_path / "few.npz", dict.fromkeys(("train", "validation", "test"), few))
    np.testing.assert_array_equal(data.load(str(tmp_path / "few.npz"), split="train").images, same.images)


def test_sum_of_a_large_set_is_that_of_a_sample_in_memory_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_module, "STREAM_ABOVE", 100)
    images = np.random.default_rng(0).integers(0, 256, (3000, 2, 2, 1), dtype=np.uint8)
    info = data.DatasetInfo("made up", 2, (2, 2, 1), (0.5,), (0.25,), ("a", "b"), augment=False)
    labels = np.zeros(3000, np.int32)
    inside = data.Dataset(images, labels, info, "train")
    outside = data.Dataset(RecordImages(FakeRecords(list(images)), np.arange(3000), (2, 2, 1)), labels, info, "train")
    sampled = images[np.linspace(0, 2999, 1024).astype(int)]
    assert inside.image_sum() == outside.image_sum() == sampled.sum()


# What the builders of TFDS do with their downloads, without TensorFlow.


def downloads(directory: pathlib.Path, name: str) -> object:
    """What the download manager of TFDS hands to the builder: two training images of class 1 and 0, a test image."""
    images = np.arange(2 * 32 * 32 * 3).reshape(2, 3, 32, 32).astype(np.uint8)
    if name == "cifar10":
        folder = directory / "cifar-10-batches-bin"
        folder.mkdir()
        (folder / "batches.meta.txt").write_text("\n".join(tensorflow_datasets.INFOS["cifar10"].class_names) + "\n")
        for file in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
            rows = [bytes([1 - i]) + image.tobytes() for i, image in enumerate(images[: 1 + (file != "test_batch")])]
            (folder / f"{file}.bin").write_bytes(b"".join(rows))
        return directory
    for part, numbers in (("train", (0, 1)), ("val", (2,))):
        for number in numbers:
            folder = directory / "imagenette2-160" / part / ("n01440764", "n02102040")[1 - number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"image_{number}.JPEG").write_bytes(jpeg(number))
    return directory


@pytest.mark.parametrize(("name", "tfds_name", "test_part"), [
    ("cifar10", "cifar10", "test"), ("imagenette", "imagenette/160px-v2", "validation"),
])  # fmt: skip
def test_data_sets_of_tfds_are_prepared_from_their_downloads_without_tensorflow(
    name: str, tfds_name: str, test_part: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow_datasets as tfds

    (tmp_path / "downloads").mkdir()
    there = downloads(tmp_path / "downloads", name)
    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", lambda self, urls: there)
    train, test = (tensorflow_datasets.open_tfds(tfds_name, str(tmp_path), part) for part in ("train", test_part))
    assert "tensorflow" not in sys.modules
    if name == "cifar10":
        assert (len(train), len(test)) == (10, 1)
        record = test.__getitems__([0])[0]
        assert record["label"] == 1
        expected = np.arange(32 * 32 * 3).reshape(3, 32, 32).astype(np.uint8).transpose(1, 2, 0)
        np.testing.assert_array_equal(record["image"], expected)
        return
    assert (len(train), len(test)) == (2, 1)
    for record in train.__getitems__([0, 1]):
        number = 1 - record["label"]
        assert np.abs(record["image"].mean((0, 1)) - colour_of(number)).max() < 4


def test_npz_of_another_program_is_read_at_once_with_its_checksums(tmp_path: pathlib.Path) -> None:
    x, y = np.arange(5 * 2 * 2 * 3, dtype=np.uint8).reshape(5, 2, 2, 3), np.arange(5)
    np.savez(tmp_path / "small.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    test = data.load(str(tmp_path / "small.npz"), split="test")
    assert not isinstance(test.images, np.memmap)
    np.testing.assert_array_equal(test.images, x)


def test_npz_without_all_splits_is_not_written(tmp_path: pathlib.Path) -> None:
    train = data.load("digits", split="train", max_images=5)
    with pytest.raises(InputError, match="an .npz file of train, validation and test is expected, got .* and train"):
        data.save_npz(tmp_path / "some.npz", {"train": train})
    with pytest.raises(InputError, match="cannot be written"):
        data.save_npz(tmp_path / "nowhere" / "some.npz", dict.fromkeys(("train", "validation", "test"), train))


@pytest.mark.slow
def test_prepare_data_writes_a_file_that_experiments_read_and_never_overwrites(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "digits.npz"
    first = call("prepare_data", "--dataset=digits", f"--out={out}")
    assert first.returncode == 0, first.stderr
    count = len(data.load("digits", split="train"))
    assert f"digits, {count:,} train, " in first.stdout
    assert len(data.load(str(out), split="test")) == len(data.load("digits", split="test"))
    second = call("prepare_data", "--dataset=digits", f"--out={out}")
    assert second.returncode == 2
    assert "exists; replace it with --overwrite" in second.stderr


def test_tiny_imagenet_subset_on_the_real_data(tfds_dir: str, tmp_path: pathlib.Path) -> None:
    real = pathlib.Path(tfds_dir).parent / "tiny_imagenet"
    if not real.is_dir():
        pytest.skip("the subset of TinyImageNet is not there")
    for path in real.glob("*.zip"):
        (tmp_path / path.name).symlink_to(path)
    test = data.load("tiny_imagenet", data_dir=str(tmp_path), split="test")
    assert np.bincount(test.labels).tolist() == [50] * 10
    assert test.info.class_names[:2] == ("goldfish", "koala")
    assert np.abs(test.as_float().mean((0, 1, 2)) - np.array(test.info.mean)).max() < 0.06
