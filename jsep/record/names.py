"""The names of methods as people read them; files, flags and configurations have the short ones."""

import re

from jsep import explain

_NAMES = {
    "standard": "standard",
    "mat": "MAT",
    "trades": "TRADES",
    "mart": "MART",
    "sep": "SEP",
    "trades_sep": "TRADES with SEP",
    "base": "base",
    "continued": "continued",
    "sep_pos": "SEP +, flattened",
    "sep_neg": "SEP −, sharpened",
}

_REGULARISERS = {"lga": "LGA", "hessian": "Hessian", "cure": "CURE", "ig_norm": "IG-NORM", "r2et": "R2ET"}

_KNOWN = _NAMES | _REGULARISERS


def readable(method: str) -> str:
    """A training method for people; a name that is no combination of known ones stays as it is.

    >>> readable("sep_pos"), readable("trades_sep_neg"), readable("mat_lga@1"), readable("trades 6")
    ('SEP +, flattened', 'TRADES, SEP −, sharpened', 'MAT, LGA, weight 1', 'TRADES, weight 6')

    Of a study of cells, which names the budget of the training, and with the seed of one model or other settings:

    >>> readable("base_0"), readable("base_2"), readable("sep_pos_8")
    ('standard training', 'adversarial training, ε = 2/255', 'SEP +, flattened, ε = 8/255')
    >>> readable("mat_seed0"), readable("mat, epochs 24")
    ('MAT, seed 0', 'MAT, epochs 24')
    """
    if method in _KNOWN:
        return _KNOWN[method]
    if found := re.fullmatch(r"(.+?)(?:_seed(?P<seed>\d+)|[@ ](?P<weight>[+-]?[\d.]+)|(?P<rest>, .+))", method):
        stem = readable(found[1])
        ending = (
            f", seed {found['seed']}"
            if found["seed"]
            else found["rest"] or f", weight {found['weight'].replace('-', '−')}"
        )
        return f"{stem}{ending}" if stem != found[1] else method
    cell = re.fullmatch(r"(\w+?)_(\d+(?:\.\d+)?)", method)
    if cell and cell[1] in _NAMES:
        return _cell(cell[1], cell[2])
    for term in ("sep_pos", "sep_neg", *_REGULARISERS):
        base = method.removesuffix(f"_{term}")
        if base != method and base in _NAMES:
            return f"{_NAMES[base]}, {_KNOWN[term]}"
    return method


def readable_all(text: str, methods: tuple[str, ...]) -> str:
    """A text about several methods, such as the name of a contrast, with their readable names."""
    listed = "|".join(re.escape(method) for method in sorted(methods, key=len, reverse=True))
    return re.sub(rf"(?<![\w@])(?:{listed})(?![\w@])", lambda found: readable(found[0]), text) if methods else text


def explanation_name(method: str) -> str:
    """An explanation method for people: its title in `explain.METHODS`; a name without one stays as it is."""
    known = explain.METHODS.get(method)
    return (known.title if known else "") or method


def _cell(arm: str, budget: str) -> str:
    """One cell of docs/definitive_study.md: an arm at the budget of its adversarial training, 0 for standard."""
    if arm == "base":
        return f"adversarial training, ε = {budget}/255" if float(budget) else "standard training"
    return f"{_NAMES[arm]}, ε = {budget}/255" if float(budget) else f"{_NAMES[arm]}, standard training"
