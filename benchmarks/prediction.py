"""The predicted time and memory of a run, from the operations of a step and the measured speed."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Prediction:
    """hours: of training; gib_per_device: memory, including the training state and the images of one batch."""

    hours: float
    gib_per_device: float


def predict_run(
    *,
    flops_per_image: float,
    num_images: int,
    epochs: int,
    flops_per_second: float,
    num_devices: int,
    batch_size: int,
    bytes_per_image: float,
    bytes_per_step: float,
    parameter_bytes: float,
    overhead: float = 0.0,
) -> Prediction:
    """The cost of a training run whose batches are split over equal devices.

        hours = epochs * num_images * flops_per_image * (1 + overhead) / (num_devices * flops_per_second) / 3600
        bytes = 2 * parameter_bytes + bytes_per_step + batch_size / num_devices * bytes_per_image

    Args:
      flops_per_image: operations of a training step for one image, attack included.
      flops_per_second: the measured rate of one device, not its peak.
      batch_size: over all devices together.
      bytes_per_image, bytes_per_step: working memory of a step per image, and independent of the batch.
      parameter_bytes: of the parameters; the momentum takes as much.
      overhead: of splitting a batch over devices, as a share of the time.

    Raises: ValueError for a rate, a count or a share out of range.
    """
    for name, value in {"flops_per_second": flops_per_second, "num_devices": num_devices, "epochs": epochs}.items():
        if value <= 0:
            raise ValueError(f"{name} must be > 0, got {value}")
    if overhead < 0:
        raise ValueError(f"overhead must be >= 0, got {overhead}")
    flops = epochs * num_images * flops_per_image * (1 + overhead)
    seconds = flops / (num_devices * flops_per_second)
    memory = 2 * parameter_bytes + bytes_per_step + batch_size / num_devices * bytes_per_image
    return Prediction(hours=seconds / 3600, gib_per_device=memory / 2**30)
