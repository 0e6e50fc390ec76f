"""The input landscape of any scalar function of the image: pictures along directions, and curvature as numbers.

The way of the data: `scalars` names the functions, `directions` the lines through a point, `slices` evaluates along
them, `curvature` has the Hessian by its products with vectors, `sharpness` what an ascent or a sample finds in a ball.
"""

from jsep.landscape.curvature import (
    Curvature,
    JacobianNorms,
    Moments,
    Spectrum,
    curvature,
    density,
    frobenius_norm,
    hvp,
    jacobian_norms,
    moments,
    spectrum,
    top_eigenvalues,
    trace,
)
from jsep.landscape.directions import DIRECTIONS, DRAWN, DirectionContext, direction, normalise
from jsep.landscape.scalars import (
    SCALARS,
    Case,
    explanation_loss_to,
    explanation_loss_to_own,
    margin,
    scalar_fn,
    sep_term,
)
from jsep.landscape.sharpness import Sharpness, local_lipschitz, sharpness
from jsep.landscape.slices import OUTSIDE, Slice, coordinates, slice_1d, slice_2d

__all__ = [
    "Curvature",
    "DIRECTIONS",
    "DRAWN",
    "OUTSIDE",
    "SCALARS",
    "Case",
    "DirectionContext",
    "JacobianNorms",
    "Moments",
    "Sharpness",
    "Slice",
    "Spectrum",
    "coordinates",
    "density",
    "curvature",
    "direction",
    "explanation_loss_to",
    "explanation_loss_to_own",
    "frobenius_norm",
    "hvp",
    "jacobian_norms",
    "local_lipschitz",
    "margin",
    "moments",
    "normalise",
    "scalar_fn",
    "sep_term",
    "sharpness",
    "slice_1d",
    "slice_2d",
    "spectrum",
    "top_eigenvalues",
    "trace",
]
