"""The input landscape of any scalar function of the image: slices along directions, and curvature measures.

`scalars` defines the functions by name, `directions` the directions from a point, `slices` evaluates the functions
along them, `curvature` estimates properties of the Hessian from Hessian-vector products, `sharpness` the average and
worst change in a ball.
"""

from jsep.arguments import explain_failures
from jsep.landscape.curvature import (
    curvature,
    hvp,
    jacobian_norms,
    moments,
    spectral_density,
    spectrum,
    top_eigenvalues,
    trace,
)
from jsep.landscape.directions import DIRECTIONS, RANDOM_DIRECTIONS, DirectionContext, direction, normalize
from jsep.landscape.scalars import (
    SCALARS,
    ScalarContext,
    explanation_loss_to,
    explanation_loss_to_own,
    scalar_fn,
    sep_term,
)
from jsep.landscape.sharpness import local_lipschitz, sharpness
from jsep.landscape.slices import OUTSIDE_MODES, Slice, grid_coordinates, slice_1d, slice_2d

__all__ = [
    "DIRECTIONS",
    "RANDOM_DIRECTIONS",
    "OUTSIDE_MODES",
    "SCALARS",
    "ScalarContext",
    "DirectionContext",
    "Slice",
    "grid_coordinates",
    "spectral_density",
    "curvature",
    "direction",
    "explanation_loss_to",
    "explanation_loss_to_own",
    "hvp",
    "jacobian_norms",
    "local_lipschitz",
    "moments",
    "normalize",
    "scalar_fn",
    "sep_term",
    "sharpness",
    "slice_1d",
    "slice_2d",
    "spectrum",
    "top_eigenvalues",
    "trace",
]

explain_failures(__all__, globals())
