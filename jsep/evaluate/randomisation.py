"""The sanity check of weight randomisation: whether an explanation depends on what the model has learnt."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jsep.checks import InputError
from jsep.evaluate.ranks import spearman
from jsep.map_checks import as_map, floating
from jsep.types import Array, Key, PyTree


def permute_weights(key: Key, variables: PyTree, is_randomised: Callable[[str], bool] = lambda name: True) -> PyTree:
    """The variables with the entries of every chosen array permuted: the same values, but nothing learnt.

    Args: key; variables: any tree of arrays; is_randomised: path of an array, such as "params/head/kernel" -> whether
      to permute it.
    Returns: a tree of the same structure.
    Raises: InputError for a leaf that is no array, or an is_randomised that returns no bool.
    """
    for leaf in jax.tree.leaves(variables):
        if not hasattr(leaf, "ravel"):
            raise InputError(f"variables must be a tree of arrays, got a leaf of type {type(leaf).__name__}")

    def one(path: Any, leaf: Array) -> Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        chosen = is_randomised(name)
        if not isinstance(chosen, bool | np.bool_):
            raise InputError(f"is_randomised must return True or False for a path, got {type(chosen).__name__}")
        if not chosen:
            return leaf
        # One key for each array of the tree: its draw does not depend on which others are randomised.
        place = jax.random.fold_in(key, names.index(name))
        return jax.random.permutation(place, leaf.ravel()).reshape(leaf.shape)

    names = [
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, _ in jax.tree_util.tree_leaves_with_path(variables)
    ]
    return jax.tree_util.tree_map_with_path(one, variables)


def randomisation_similarity(
    make_map_fn: Callable[[PyTree], Callable[[Array], Array]],
    variables: PyTree,
    randomised: PyTree,
    image: Array,
    *,
    similarity: Callable[[Array, Array], Array] = spearman,
) -> Array:
    """The similarity between the maps of a trained model and of its randomised version.

    Near 1, the explanation hardly depends on what the model has learnt.

    Args: make_map_fn: variables -> map_fn, for the class that the trained model predicts; variables: of that model;
      randomised: for example from `permute_weights`; image (H, W, C); similarity: of two maps.
    Returns: ().
    Raises: InputError for another output of make_map_fn's functions than a map, or of `similarity` than one number.
    Reference: Adebayo et al. 2018, section 3.
    """
    maps = (as_map(make_map_fn(each)(image), "the map of make_map_fn") for each in (variables, randomised))
    found = floating(similarity(*maps), "similarity")
    if found.shape:
        raise InputError(f"similarity must give one number for two maps, got shape {found.shape}")
    return found
