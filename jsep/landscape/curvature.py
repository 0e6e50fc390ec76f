"""Second derivatives of a scalar function of the image, from Hessian-vector products alone.

The Hessian H of an explanation loss is a third derivative of the network. Absolute values in maps are differentiated
as s * stop_gradient(sign(s)), so H is the Hessian between the sign changes of the saliency and omits the kinks at
them, where the second derivative is a point mass. Hutchinson's estimates are matfree's; Lanczos is implemented here,
since matfree's continues after the Krylov space is exhausted.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jsep.checks import InputError, check_count, check_positive
from jsep.compiled import compiled
from jsep.landscape.scalars import check_chunk_size, check_scalar_fn
from jsep.numerics import norm
from jsep.types import Array, Key, MapFn, Objective

Matvec = Any


@compiled
def hvp(scalar_fn: Objective, point: Array, vector: Array) -> Array:
    """H v, the product of the Hessian of `scalar_fn` at `point` with a vector: forward over reverse.

    >>> import jax.numpy as jnp
    >>> from jsep import landscape
    >>> landscape.hvp(lambda x: (x**3).sum(), jnp.full((1, 1, 1), 0.5), jnp.ones((1, 1, 1))).tolist()  # 6 x
    [[[3.0]]]

    Args: scalar_fn: image -> scalar; point, vector: (H, W, C). Returns: (H, W, C).
    Raises: InputError for a function that is not scalar or for shapes that differ.
    """
    point = check_scalar_fn(scalar_fn, point)
    if jnp.shape(vector) != point.shape:
        raise InputError(f"vector must have the point's shape {point.shape}, got {jnp.shape(vector)}")
    return jax.jvp(jax.grad(scalar_fn), (point,), (jnp.asarray(vector, point.dtype),))[1]


def _hessian(scalar_fn: Objective, point: Array) -> Matvec:
    """v -> H v; the gradient is linearised once, so that each further product costs only a tangent evaluation."""
    return jax.linearize(jax.grad(scalar_fn), point)[1]


class Krylov(NamedTuple):
    """The result of Lanczos: basis (M, *shape), orthonormal rows; tridiagonal (M, M), symmetric.

    Once the Krylov space is exhausted (an invariant subspace: a Hessian of low rank, or with fewer distinct eigenvalues
    than steps) the remaining rows of both are zero. If a product is not finite, neither is the tridiagonal matrix.
    """

    basis: Array
    tridiagonal: Array


_BREAKDOWN = 10.0  # a residual below this times eps sqrt(D) ||H|| counts as rounding error


def _lanczos(matvec: Matvec, start: Array, num_matvecs: int) -> Krylov:
    """Lanczos with full reorthogonalisation, stopped at a residual that is small relative to the operator.

    Continuing would normalise rounding noise to unit length, which gives arbitrary Ritz values.
    """
    shape, dtype = start.shape, start.dtype
    tolerance = _BREAKDOWN * start.size**0.5 * float(jnp.finfo(dtype).eps)
    highest = jax.lax.Precision.HIGHEST
    first = start.ravel() / norm(start)

    def step(carry: tuple[Array, Array, Array, Array], index: Array) -> tuple[tuple, tuple[Array, Array]]:
        basis, vector, going, scale = carry
        basis = basis.at[index].set(vector)
        product = matvec(vector.reshape(shape)).ravel()
        diagonal = jnp.vdot(vector, product, precision=highest)
        scale = jnp.maximum(scale, norm(product))  # at most ||H||, since the vector has length 1 or 0
        residual = product
        for _ in range(2):  # a single pass leaves rounding errors from cancellation
            residual = residual - jnp.matmul(jnp.matmul(basis, residual, precision=highest), basis, precision=highest)
        length = norm(residual)
        goes_on = going & (length > tolerance * scale)
        following = jnp.where(goes_on, residual / jnp.where(goes_on, length, 1.0), 0.0)
        return (basis, following, goes_on, scale), (jnp.where(going, diagonal, 0.0), jnp.where(goes_on, length, 0.0))

    nothing = jnp.zeros((num_matvecs, start.size), dtype)
    carry = (nothing, first, jnp.bool_(True), jnp.zeros((), dtype))
    (basis, *_), (diagonal, off_diagonal) = jax.lax.scan(step, carry, jnp.arange(num_matvecs))
    tridiagonal = jnp.diag(diagonal) + jnp.diag(off_diagonal[:-1], 1) + jnp.diag(off_diagonal[:-1], -1)
    return Krylov(basis.reshape(num_matvecs, *shape), tridiagonal)


def _eigh(tridiagonal: Array) -> tuple[Array, Array]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix of any scale; NaN for a non-finite matrix."""
    scale = jnp.max(jnp.abs(tridiagonal))
    usable = jnp.isfinite(scale)
    divisor = jnp.where(usable & (scale > 0), scale, 1.0)
    values, vectors = jnp.linalg.eigh(jnp.where(usable, tridiagonal / divisor, 0.0))
    return jnp.where(usable, values * divisor, jnp.nan), jnp.where(usable, vectors, jnp.nan)


def _check_matvecs(num_matvecs: int, size: int) -> None:
    check_count("num_matvecs", num_matvecs)
    if num_matvecs > size:
        raise InputError(f"num_matvecs must be at most the {size} entries of the point, got {num_matvecs}")


@compiled
def top_eigenvalues(
    key: Key, scalar_fn: Objective, point: Array, *, num_eigenvalues: int, num_matvecs: int
) -> tuple[Array, Array]:
    """The eigenvalues of largest magnitude of the Hessian, and their eigenvectors, by Lanczos.

    >>> import jax, jax.numpy as jnp
    >>> from jsep import landscape
    >>> scales = jnp.array([[[1.0], [-3.0], [2.0]]])
    >>> quadratic, point = lambda x: (scales * x**2).sum(), jnp.full((1, 3, 1), 0.5)
    >>> values, _ = landscape.top_eigenvalues(jax.random.key(0), quadratic, point, num_eigenvalues=2, num_matvecs=3)
    >>> [round(float(value), 3) for value in values]  # largest in size first
    [-6.0, 4.0]

    Args:
      key: for the start vector.
      scalar_fn: image -> scalar; point: (H, W, C).
      num_eigenvalues: how many; num_matvecs: Hessian-vector products, >= num_eigenvalues, at most the point's size.

    Returns: (values (num_eigenvalues,), largest magnitude first; vectors (num_eigenvalues, H, W, C), of Euclidean norm
      1). Lanczos finds each distinct eigenvalue once, whatever its multiplicity: for a Hessian with k distinct
      eigenvalues, all values after the k-th are 0 with a zero vector. NaN if a Hessian-vector product is not finite.
    Raises: InputError for counts out of range.
    """
    point = check_scalar_fn(scalar_fn, point)
    _check_matvecs(num_matvecs, point.size)
    check_count("num_eigenvalues", num_eigenvalues)
    if num_eigenvalues > num_matvecs:
        raise InputError(f"num_eigenvalues must be at most num_matvecs = {num_matvecs}, got {num_eigenvalues}")
    start = jax.random.normal(key, point.shape, point.dtype)
    return _ritz(_lanczos(_hessian(scalar_fn, point), start, num_matvecs), num_eigenvalues)


def _ritz(krylov: Krylov, num_eigenvalues: int) -> tuple[Array, Array]:
    """The Ritz values of largest magnitude and their vectors."""
    values, vectors = _eigh(krylov.tridiagonal)
    largest = jnp.argsort(-jnp.abs(values))[:num_eigenvalues]
    return values[largest], jnp.tensordot(vectors[:, largest].T, krylov.basis, 1)


def _probes(key: Key, integrand: Any, matvec: Matvec, point: Array, num_probes: int, chunk_size: int | None) -> Any:
    """The integrand at `num_probes` Rademacher vectors, (num_probes, ...)."""
    from matfree import stochtrace

    vectors = stochtrace.sampler_signs(point, num=num_probes)(key)
    return jax.lax.map(
        lambda vector: integrand(matvec, vector), vectors, batch_size=min(chunk_size or num_probes, num_probes)
    )


def _mean_and_error(samples: Array) -> tuple[Array, Array]:
    """The sample mean and its standard error std / sqrt(n), with divisor n - 1 in the std."""
    return jnp.mean(samples, axis=0), jnp.std(samples, axis=0, ddof=1) / len(samples) ** 0.5


def _check_probes(num_probes: int, chunk_size: int | None) -> None:
    check_count("num_probes", num_probes, minimum=2)  # a single probe has no standard error
    check_chunk_size(chunk_size)


@compiled
def trace(
    key: Key, scalar_fn: Objective, point: Array, *, num_probes: int, chunk_size: int | None = None
) -> tuple[Array, Array]:
    """tr H = E[v^T H v] over Rademacher vectors v (Hutchinson).

    Args: key: for the vectors; num_probes: number of vectors, >= 2; chunk_size: vectors in memory at once.
    Returns: (mean (), standard_error ()); exact for a diagonal Hessian, for which every vector gives the trace.
    Raises: InputError for a function that is not scalar, or counts out of range.
    """
    from matfree import stochtrace

    point = check_scalar_fn(scalar_fn, point)
    _check_probes(num_probes, chunk_size)
    return _mean_and_error(
        _probes(key, stochtrace.monte_carlo_trace(), _hessian(scalar_fn, point), point, num_probes, chunk_size)
    )


class Moments(NamedTuple):
    """Trace and Frobenius norm of a Hessian from the same Hessian-vector products, with standard errors; each ()."""

    trace: Array
    trace_standard_error: Array
    frobenius_norm: Array
    frobenius_standard_error: Array


@compiled
def moments(key: Key, scalar_fn: Objective, point: Array, *, num_probes: int, chunk_size: int | None = None) -> Moments:
    """tr H = E[v^T H v] and ||H||_F = sqrt(E||H v||^2) from the same Rademacher vectors.

    The standard error of the norm is that of its square divided by 2 ||H||_F (first order). Args, Raises: as `trace`.
    """
    point = check_scalar_fn(scalar_fn, point)
    _check_probes(num_probes, chunk_size)
    return _moments(key, _hessian(scalar_fn, point), point, num_probes, chunk_size)


def _moments(key: Key, matvec: Matvec, point: Array, num_probes: int, chunk_size: int | None) -> Moments:
    def both(matvec: Matvec, vector: Array) -> tuple[Array, Array]:
        product = matvec(vector)
        return jnp.vdot(vector, product), norm(product)

    forms, norms = _probes(key, both, matvec, point, num_probes, chunk_size)
    return Moments(*_mean_and_error(forms), *_root_mean_square(norms))


def _root_mean_square(norms: Array) -> tuple[Array, Array]:
    """The root mean square and its standard error: that of the mean square divided by twice the root."""
    largest = jnp.max(norms)
    scale = jnp.where(largest == 0, 1.0, largest)  # squares of small numbers underflow
    square, standard_error = _mean_and_error((norms / scale) ** 2)
    is_zero = square == 0
    root = jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, square)))
    return scale * root, scale * standard_error / (2 * jnp.where(is_zero, 1.0, root))


class Spectrum(NamedTuple):
    """The spectral measure of the Hessian: nodes (num_probes, M) and weights (num_probes, M), each row summing to 1.

    sum_j weights_j g(nodes_j), averaged over the probes, estimates tr g(H) / D; for each probe v the quadrature of
    v^T g(H) v is exact for polynomials g of degree below 2M.
    """

    nodes: Array
    weights: Array


@compiled
def spectrum(
    key: Key,
    scalar_fn: Objective,
    point: Array,
    *,
    num_probes: int,
    num_matvecs: int,
    chunk_size: int | None = None,
) -> Spectrum:
    """The spectral density of the Hessian by stochastic Lanczos quadrature (a Gauss quadrature for each probe).

    Args: key: for the Rademacher probes; num_probes: >= 1; num_matvecs: Lanczos steps M for each probe.
    Returns: Spectrum; `spectral_density` smooths it.
    Raises: InputError for counts out of range.
    Reference: Ghorbani, Krishnan and Xiao 2019.
    """
    point = check_scalar_fn(scalar_fn, point)
    check_count("num_probes", num_probes)
    check_chunk_size(chunk_size)
    _check_matvecs(num_matvecs, point.size)

    def quadrature(matvec: Matvec, vector: Array) -> Spectrum:
        return _gauss(_lanczos(matvec, vector, num_matvecs))

    return _probes(key, quadrature, _hessian(scalar_fn, point), point, num_probes, chunk_size)


def _gauss(krylov: Krylov) -> Spectrum:
    """The Gauss quadrature of v^T g(H) v for a start vector v of unit length: nodes (M,), weights (M,)."""
    values, vectors = _eigh(krylov.tridiagonal)
    return Spectrum(values, vectors[0] ** 2)


class Curvature(NamedTuple):
    """The result of `curvature`. eigenvalues: (num_eigenvalues,) as of `top_eigenvalues`; eigenvector: (H, W, C) of the
    first; moments; spectrum."""

    eigenvalues: Array
    eigenvector: Array
    moments: Moments
    spectrum: Spectrum


@compiled
def curvature(
    key: Key,
    scalar_fn: Objective,
    point: Array,
    *,
    num_eigenvalues: int,
    num_matvecs: int,
    num_probes: int,
    spectrum_probes: int,
    chunk_size: int | None = None,
) -> Curvature:
    """Eigenvalues, moments and spectrum of the Hessian from one linearisation of the gradient.

    The eigenvalues are the Ritz values of the first probe of the spectrum, so that one Lanczos loop gives both.

    Args: as `top_eigenvalues`, `moments` and `spectrum`; num_probes: of the moments; spectrum_probes: of the spectrum.
    Returns: Curvature. Faster to compile and to run than the three functions separately.
    Raises: InputError for counts out of range.
    """
    point = check_scalar_fn(scalar_fn, point)
    _check_probes(num_probes, chunk_size)
    check_count("spectrum_probes", spectrum_probes)
    _check_matvecs(num_matvecs, point.size)
    if num_eigenvalues > num_matvecs:
        raise InputError(f"num_eigenvalues must be at most num_matvecs = {num_matvecs}, got {num_eigenvalues}")
    matvec = _hessian(scalar_fn, point)
    moments_key, spectrum_key = jax.random.split(key)

    def lanczos(matvec: Matvec, vector: Array) -> tuple[Array, Array, Spectrum]:
        krylov = _lanczos(matvec, vector, num_matvecs)
        values, vectors = _ritz(krylov, num_eigenvalues)
        return values, vectors[0], _gauss(krylov)

    values, vectors, measure = _probes(spectrum_key, lanczos, matvec, point, spectrum_probes, chunk_size)
    found = _moments(moments_key, matvec, point, num_probes, chunk_size)
    return Curvature(values[0], vectors[0], found, measure)


@compiled
def spectral_density(measure: Spectrum, grid: Array, sigma: Any) -> Array:
    """The smoothed density of eigenvalues at the points of `grid`: every node of the spectrum becomes a Gaussian.

    Args: grid: (G,) eigenvalues; sigma: standard deviation of the Gaussians, > 0. Returns: (G,), with integral 1.
    Raises: InputError for sigma <= 0.
    """
    check_positive("sigma", sigma)
    if jnp.ndim(grid) != 1:
        raise InputError(f"grid must be (G,) eigenvalues, got shape {jnp.shape(grid)}")
    z = (jnp.asarray(grid)[:, None, None] - measure.nodes) / sigma
    bumps = measure.weights * jnp.exp(-(z**2) / 2) / (sigma * (2 * jnp.pi) ** 0.5)
    return jnp.sum(bumps, axis=(1, 2)) / len(measure.nodes)


class JacobianNorms(NamedTuple):
    """Norms of the Jacobian J of a map, each (): largest singular value, ||J||_F and its standard error."""

    spectral: Array
    frobenius: Array
    frobenius_standard_error: Array


@compiled
def jacobian_norms(
    key: Key, map_fn: MapFn, point: Array, *, num_matvecs: int, num_probes: int, chunk_size: int | None = None
) -> JacobianNorms:
    """Norms of the Jacobian J of the map: its rate of change with the image, in Euclidean norms of both.

    The spectral norm is the root of the largest eigenvalue of J^T J by Lanczos; ||J||_F^2 = E||J v||^2.
    Args: key: for the start vector and the probes; map_fn: image -> map (H, W); point: (H, W, C); num_matvecs,
      num_probes, chunk_size: as of `top_eigenvalues` and `trace`.
    Returns: JacobianNorms.
    Raises: InputError for counts out of range.
    """
    point = check_scalar_fn(lambda z: jnp.sum(map_fn(z)), point)
    _check_probes(num_probes, chunk_size)
    _check_matvecs(num_matvecs, point.size)
    start_key, probe_key = jax.random.split(key)
    _, push = jax.linearize(map_fn, point)
    _, pull = jax.vjp(map_fn, point)
    start = jax.random.normal(start_key, point.shape, point.dtype)
    tridiagonal = _lanczos(lambda v: pull(push(v))[0], start, num_matvecs).tridiagonal
    largest = jnp.maximum(_eigh(tridiagonal)[0][-1], 0.0)
    norms = _probes(probe_key, lambda f, v: norm(f(v)), push, point, num_probes, chunk_size)
    return JacobianNorms(jnp.sqrt(largest), *_root_mean_square(norms))
