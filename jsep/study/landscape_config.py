"""Everything that decides the numbers of a landscape analysis."""

import dataclasses

from jsep import attack, landscape
from jsep.checks import InputError, check_choice, check_count, check_epsilon, check_positive
from jsep.study.flat_config import FlatConfig, setting


@dataclasses.dataclass(frozen=True)
class LandscapeConfig(FlatConfig):
    """The input landscape of trained models. The help text of each field is its documentation."""

    models: tuple[str, ...] = setting(("runs/digits_sep",), "run directories of finished studies whose models are read")
    data_dir: str | None = setting(None, "TFDS data directory; default: where the study found it")
    scalars: tuple[str, ...] = setting(
        ("cross_entropy", "explanation_to_target", "explanation_to_own"),
        f"scalar functions of the image, of {', '.join(landscape.SCALARS)}",
    )
    directions: tuple[str, ...] = setting(
        ("rademacher", "gradient_sign", "attack", "eigenvector", "to_image"),
        f"directions of the slices, of {', '.join(landscape.DIRECTIONS)}",
    )
    num_directions: int = setting(10, "lines an image of each random direction")
    landscape_images: int = setting(0, "pairs of images analysed, the first of the study's list; 0: all")
    landscape_epsilon: float | None = setting(None, "budget: size of a direction and of the ball; default: the study's")
    landscape_norm: str = setting("linf", f"its norm: {', '.join(attack.NORMS)}")
    extent: float = setting(2.0, "the slices go from -extent to extent, in units of the budget")
    num_points: int = setting(41, "points of a slice; an odd number meets the image itself")
    out_of_range: str = setting("clip", f"points outside [0, 1]: {', '.join(landscape.OUTSIDE_MODES)}")
    plane_images: int = setting(4, "images over which the surface in a plane is averaged")
    plane_points: int = setting(25, "points of a plane in each of its two directions")
    num_eigenvalues: int = setting(5, "eigenvalues of largest magnitude")
    num_matvecs: int = setting(20, "Lanczos steps")
    num_probes: int = setting(20, "Rademacher vectors of trace, Frobenius norm and Jacobian norm")
    spectrum_probes: int = setting(2, "Rademacher vectors of the spectral density")
    sharpness_samples: int = setting(32, "points of the ball for the average sharpness")
    sharpness_steps: int = setting(20, "ascent steps for the worst sharpness and the Lipschitz estimate")
    num_bootstrap: int = setting(1000, "bootstrap samples of a rank correlation")
    landscape_seed: int = setting(0, "seed of directions, probes, starts and samples")
    landscape_chunk_size: int = setting(64, "images times points in memory at once; changes no number")

    def __post_init__(self) -> None:
        if not self.models:
            raise InputError("models names no run directory: give one or more, such as runs/digits_sep")
        for what, known, names in (
            ("scalar function", landscape.SCALARS, self.scalars),
            ("direction", landscape.DIRECTIONS, self.directions),
        ):
            for name in names:
                check_choice(what, name, known)
            if not names or len(set(names)) != len(names):
                raise InputError(f"expected one or more different {what}s, got {', '.join(names) or 'none'}")
        attack.norm_by_name(self.landscape_norm)
        check_choice("out_of_range", self.out_of_range, landscape.OUTSIDE_MODES)
        if self.landscape_epsilon is not None:
            check_epsilon(self.landscape_epsilon, self.landscape_norm, "landscape_epsilon")
            check_positive("landscape_epsilon", self.landscape_epsilon)
        check_positive("extent", self.extent)
        for name in ("landscape_images", "landscape_seed"):
            check_count(name, getattr(self, name), minimum=0)
        for name in ("num_points", "plane_points", "num_probes", "sharpness_samples"):
            check_count(name, getattr(self, name), minimum=2)
        for name in (
            "num_directions",
            "plane_images",
            "num_eigenvalues",
            "num_matvecs",
            "spectrum_probes",
            "num_bootstrap",
            "landscape_chunk_size",
        ):
            check_count(name, getattr(self, name))
        check_count("sharpness_steps", self.sharpness_steps, minimum=0)
        if self.num_eigenvalues > self.num_matvecs:
            raise InputError(
                f"num_eigenvalues must be at most num_matvecs = {self.num_matvecs}, got {self.num_eigenvalues}"
            )

    def directions_of(self, scalar: str) -> tuple[str, ...]:
        """The directions of the slices of one scalar function: the loss to the own map has no gradient at the image."""
        without = {"gradient", "gradient_sign"} if scalar == "explanation_to_own" else set()
        return tuple(name for name in self.directions if name not in without)
