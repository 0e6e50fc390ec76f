"""The examples of docstrings run and print what they say."""

import doctest
import importlib
import pathlib

import matplotlib.pyplot as plt
import pytest

from jsep import attack, data, evaluate, explain, landscape, models, plot, stats, train

ROOT = pathlib.Path(__file__).parent.parent
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "jsep").rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run_and_print_what_they_say(name: str) -> None:
    plt.switch_backend("Agg")
    failed, attempted = doctest.testmod(importlib.import_module(name))
    plt.close("all")
    assert attempted
    assert failed == 0


def test_the_functions_that_most_people_call_have_an_example() -> None:
    called = [
        attack.pgd, attack.cross_entropy, data.load, data.from_arrays, data.examples, evaluate.explanation_loss,
        evaluate.cosine_similarity, evaluate.effective_pixels, evaluate.relative_reduction, explain.explanation_map,
        explain.gradient, explain.gradient_x_input, explain.integrated_gradients, explain.make_map_fn, landscape.hvp,
        landscape.slice_1d, landscape.slice_2d, landscape.top_eigenvalues, models.create, models.wrap,
        models.load_pretrained, models.pretrained, plot.map, stats.t_interval, stats.holm,
        train.scale_free_weight, train.sep_penalty,
    ]  # fmt: skip
    assert [each.__name__ for each in called if ">>> " not in (each.__doc__ or "")] == []
