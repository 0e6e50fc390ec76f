"""The input Hessian by torch.autograd on the same weights against Lanczos, trace and Frobenius norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jsep import explain, landscape

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

torch = pytest.importorskip("torch", reason="needs the extra: pip install -e '.[oracle]'")

SHAPE = (4, 4, 2)
SIZE = 32
RNG = np.random.default_rng(0)
FIRST, SECOND, HEAD = RNG.normal(size=(3, 3, 2, 4)) / 3, RNG.normal(size=(3, 3, 4, 5)) / 3, RNG.normal(size=(80, 3)) / 4
IMAGE, OTHER = RNG.uniform(0.1, 0.9, (2, *SHAPE))
BETA = 4.0


def jax_logits(image):
    def conv(x, kernel):
        dims = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, jnp.asarray(kernel, x.dtype), (1, 1), "SAME", dimension_numbers=dims)

    x = image[None]
    for kernel in (FIRST, SECOND):
        x = jnp.logaddexp(BETA * conv(x, kernel), 0.0) / BETA
    return x.reshape(-1) @ jnp.asarray(HEAD, x.dtype)


def torch_logits(image):
    x = image.permute(2, 0, 1)[None]
    for kernel in (FIRST, SECOND):
        x = torch.nn.functional.conv2d(x, torch.tensor(kernel.transpose(3, 2, 0, 1)), padding=1)
        x = torch.nn.functional.softplus(x, beta=BETA, threshold=1e9)
    return x[0].permute(1, 2, 0).reshape(-1) @ torch.tensor(HEAD)


def torch_map(image, create_graph=True):
    gradient = torch.autograd.grad(torch_logits(image)[1], image, create_graph=create_graph)[0]
    saliency = (gradient * image).abs().sum(-1)
    return saliency / saliency.sum()


def torch_functions():
    target = torch_map(torch.tensor(OTHER, requires_grad=True)).detach()
    return {
        "cross_entropy": lambda z: -torch.log_softmax(torch_logits(z), 0)[1],
        "explanation_to_target": lambda z: ((torch_map(z) - target) ** 2).mean(),
    }


@pytest.mark.parametrize("name", ["cross_entropy", "explanation_to_target"])
@pytest.mark.usefixtures("float64")
def test_curvature_equals_that_of_torch_autograd(name):
    function = torch_functions()[name]
    image = torch.tensor(IMAGE, requires_grad=True)
    expected = torch.autograd.functional.hessian(function, image).detach().numpy().reshape(SIZE, SIZE)

    map_fn = explain.make_map_fn("gradient_x_input", jax_logits, 1)
    case = landscape.ScalarContext(jax_logits, 1, jnp.asarray(IMAGE), map_fn, jax.jit(map_fn)(jnp.asarray(OTHER)))
    ours = landscape.scalar_fn(name, case)
    assert float(ours(jnp.asarray(IMAGE))) == pytest.approx(float(function(image)), rel=1e-10)
    dense = np.asarray(jax.jit(jax.hessian(ours))(jnp.asarray(IMAGE))).reshape(SIZE, SIZE)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(dense, expected, atol=1e-9 * scale)

    key = jax.random.key(0)
    values, vectors = jax.jit(lambda z: landscape.top_eigenvalues(key, ours, z, num_eigenvalues=3, num_matvecs=SIZE))(
        jnp.asarray(IMAGE)
    )
    known = np.linalg.eigvalsh(expected)
    known = known[np.argsort(-np.abs(known))][:3]
    np.testing.assert_allclose(values, known, rtol=1e-6)
    flat = np.asarray(vectors).reshape(3, SIZE)
    np.testing.assert_allclose(expected @ flat.T, flat.T * known, atol=1e-5 * np.abs(known[0]))
    found = jax.jit(lambda z: landscape.moments(key, ours, z, num_probes=500, chunk_size=50))(jnp.asarray(IMAGE))
    assert abs(float(found.trace) - np.trace(expected)) < 3 * float(found.trace_standard_error)
    assert abs(float(found.frobenius_norm) - np.linalg.norm(expected)) < 3 * float(found.frobenius_standard_error)
    print(
        f"{name}: top eigenvalues {np.asarray(values)} (torch {known}), trace {float(found.trace):.6g} "
        f"± {float(found.trace_standard_error):.2g} (torch {np.trace(expected):.6g}), Frobenius "
        f"{float(found.frobenius_norm):.6g} ± {float(found.frobenius_standard_error):.2g} "
        f"(torch {np.linalg.norm(expected):.6g}), dense {np.abs(dense - expected).max() / scale:.1e}"
    )
