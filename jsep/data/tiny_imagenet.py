"""TinyImageNet from the official archive, prepared as a TFDS data set without TensorFlow."""

import functools
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsep.checks import InputError
from jsep.data.dataset import Dataset, DatasetInfo
from jsep.data.source import DataSource
from jsep.data.tensorflow_datasets import open_tfds, quiet_reader, read_source

NAME = "tiny_imagenet"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_ROOT = "tiny-imagenet-200"
_VERSION = "1.0.0"
_SIZE = 64
_MEAN, _STD = (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821)


def find_archives(data_dir: str | None) -> list[Path]:
    """The zip files of TinyImageNet below `data_dir`, one (tiny-imagenet-200.zip) or several parts; [] if none."""
    if data_dir is None:
        return []
    places = [Path(data_dir), Path(data_dir) / NAME]
    return sorted(path for place in places for path in place.glob("*.zip") if _holds_images(path))


def _holds_images(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.startswith(f"{_ROOT}/") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def make_builder(archives: list[Path], data_dir: str | None) -> Any:
    """The TFDS builder of TinyImageNet: splits "train" and "test" (the official val; the official test has no labels).

    Args: archives: the archive's zip files; [] downloads it. data_dir: TFDS directory.
    """
    import tensorflow_datasets as tfds

    prepared = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser() / NAME / _VERSION
    if (prepared / "dataset_info.json").exists():
        return tfds.builder_from_directory(prepared)
    names = _class_names(archives) if archives else None

    # Not registered: a second call would register the same name again.
    class TinyImagenet(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        VERSION = tfds.core.Version(_VERSION)
        name = NAME

        def _info(self) -> Any:
            label = tfds.features.ClassLabel(names=names) if names else tfds.features.ClassLabel(num_classes=200)
            image = tfds.features.Image(shape=(_SIZE, _SIZE, 3), encoding_format="jpeg")
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict({"image": image, "label": label})
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            paths = archives or [Path(dl_manager.download(URL))]
            return {
                "train": self._generate_examples(paths, "train"),
                "test": self._generate_examples(paths, "val"),
            }

        def _generate_examples(self, paths: list[Path], split: str) -> Iterator[tuple[str, dict[str, Any]]]:
            labels = {wnid: label for label, wnid in enumerate(_wnids(paths))}
            return _examples(paths, split, labels)

    return TinyImagenet(data_dir=data_dir, file_format="array_record")


def _read_text(paths: list[Path], name: str) -> str:
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            if name in archive.namelist():
                return archive.read(name).decode()
    raise InputError(f"{', '.join(path.name for path in paths)}: {name} is missing; give the whole archive")


def _wnids(paths: list[Path]) -> list[str]:
    return _read_text(paths, f"{_ROOT}/wnids.txt").split()


def _class_names(paths: list[Path]) -> list[str]:
    """The first WordNet lemma of each class, followed by the class number if two classes share it."""
    lines = _read_text(paths, f"{_ROOT}/words.txt").splitlines()
    words = {wnid: text.split(",")[0].strip() for wnid, _, text in (line.partition("\t") for line in lines)}
    names = [words.get(wnid, wnid) for wnid in _wnids(paths)]
    return [f"{name} ({label})" if names.count(name) > 1 else name for label, name in enumerate(names)]


def _examples(paths: list[Path], split: str, labels: dict[str, int]) -> Iterator[tuple[str, dict[str, Any]]]:
    annotations = {}
    if split == "val":
        lines = _read_text(paths, f"{_ROOT}/val/val_annotations.txt").splitlines()
        annotations = {fields[0]: fields[1] for fields in (line.split("\t") for line in lines)}
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                parts = name.split("/")
                if parts[1:2] != [split] or not name.endswith(".JPEG"):
                    continue
                wnid = parts[2] if split == "train" else annotations[parts[-1]]
                yield parts[-1], {"image": io.BytesIO(_as_rgb(archive.read(name))), "label": labels[wnid]}


def _as_rgb(encoded: bytes) -> bytes:
    """The encoded image unchanged, or, if it is one of the few grey ones, as lossless RGB."""
    from PIL import Image

    image = Image.open(io.BytesIO(encoded))
    if image.mode == "RGB":
        return encoded
    converted = io.BytesIO()
    image.convert("RGB").save(converted, "PNG")
    return converted.getvalue()


def load(data_dir: str | None, split: str, max_images: int | None = None, stream: bool | None = None) -> Dataset:
    """A split of TinyImageNet; "test" is the official val, "validation" the last 1,000 training images.

    `data_dir` is a TFDS directory. If the data set is not prepared there yet, this is done once, from the zip files in
    `data_dir` or its folder tiny_imagenet, or else from a download.
    Raises: InputError when the data cannot be read or prepared, naming the directory and the reason.
    """
    with quiet_reader():
        part = "test" if split == "test" else "train"
        open_part = functools.partial(
            open_tfds, NAME, data_dir, part, lambda: make_builder(find_archives(data_dir), data_dir)
        )
        source = open_part()
        label = source.dataset_info.features["label"]
        info = DatasetInfo(NAME, label.num_classes, (_SIZE, _SIZE, 3), _MEAN, _STD, tuple(label.names), augment=True)
        open_labels = functools.partial(open_part, decode_images=False)
        return read_source(source, info, split, max_images, data_dir, stream=stream, open_labels=open_labels)


# The class names are known only after reading the archive.
SOURCE = DataSource(
    load,
    can_stream=True,
    info=DatasetInfo(NAME, 200, (_SIZE, _SIZE, 3), _MEAN, _STD, (), augment=True),
    num_images=(99_000, 1_000, 10_000),
)
