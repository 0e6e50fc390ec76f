"""The folders are the architecture, and imports point down: read from the source, by ast."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "jsep"

FLOORS = [
    {
        "types",
        "checks",
        "map_checks",
        "numerics",
        "devices",
        "files",
        "interrupts",
        "memory",
        "arguments",
        "noting",
        "jaxprs",
        "renamed",
        "compiled",
    },
    {"data", "models", "explain", "stats"},
    {"attack"},
    {"train", "evaluate", "landscape"},
    {"record", "plot"},
    {"report"},
    {"study"},
    {"cli"},
]
"""From the bottom up; a part imports only from floors below its own."""

FLOOR = {part: height for height, floor in enumerate(FLOORS) for part in floor}
ONLY_IN = {"matplotlib": {"plot", "report"}, "flax": {"models"}, "absl": {"cli"}, "tqdm": {"cli"}}


def module_name(path: pathlib.Path) -> str:
    """jsep/data/npz.py -> jsep.data.npz; jsep/data/__init__.py -> jsep.data."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in SOURCES.items()}


def imports(tree: ast.Module) -> set[str]:
    """Every module that a source imports, anywhere in it, as dotted names; `from a import b` gives a and a.b."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here, and this test does not read them"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def part_of(module: str) -> str | None:
    """jsep.data.npz -> data; None for jsep itself and other packages."""
    parts = module.split(".")
    return parts[1] if parts[0] == "jsep" and len(parts) > 1 and parts[1] in FLOOR else None


# The root names its parts for type checkers and loads them lazily: it is no floor.
INNER = {name: tree for name, tree in TREES.items() if name != "jsep"}


def test_reader_of_imports_sees_every_form() -> None:
    source = "import a.b\nfrom c import d\ndef f():\n    from e.f import g as h\n    import i as j\n"
    assert imports(ast.parse(source)) == {"a.b", "c", "c.d", "e.f", "e.f.g", "i"}
    assert part_of("jsep.data.npz") == "data"
    assert part_of("json") is None
    assert len(INNER) > 30


def test_every_part_has_its_floor() -> None:
    for name in INNER:
        assert part_of(name) is not None, f"{name} has no floor in FLOORS: say where it stands"


@pytest.mark.parametrize("name", INNER)
def test_imports_point_down(name: str) -> None:
    own = part_of(name)
    for imported in imports(INNER[name]):
        other = part_of(imported)
        if other is not None and other != own and FLOOR[own] != 0:
            assert FLOOR[other] < FLOOR[own], f"{name} imports {imported}, which is not below it"


def test_explain_and_attack_import_nothing_of_each_other() -> None:
    for name, tree in INNER.items():
        for one, other in [("explain", "attack"), ("attack", "explain")]:
            if part_of(name) == one:
                assert other not in {part_of(imported) for imported in imports(tree)}, name


def test_types_and_checks_import_nothing_above_them() -> None:
    for name, tree in INNER.items():
        if part_of(name) in FLOORS[0]:
            assert {part_of(imported) for imported in imports(tree)} <= {None, *FLOORS[0]}, name


def test_report_imports_what_is_recorded_and_nothing_that_computes() -> None:
    for name, tree in INNER.items():
        if part_of(name) == "report":
            assert {part_of(imported) for imported in imports(tree)} <= {
                None,
                "report",
                "record",
                "plot",
                "evaluate",
                "stats",
                "checks",
            }, name


def test_report_computes_no_statistic() -> None:
    names = {"mean", "std", "var", "median", "quantile", "percentile", "histogram", "corrcoef", "fsum"}
    banned = {*names, *(f"nan{name}" for name in names)}
    for name, tree in INNER.items():
        if part_of(name) == "report":
            called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
            found = {each for each in called if each.partition(".")[0] in ("np", "math", "statistics", "scipy")}
            assert not {each for each in found if each.rpartition(".")[2] in banned}, name


def test_matplotlib_only_in_plot_and_report_flax_only_in_models_absl_only_in_cli() -> None:
    for name, tree in TREES.items():
        libraries = {imported.split(".")[0] for imported in imports(tree)}
        for library, home in ONLY_IN.items():
            assert library not in libraries or part_of(name) in home, f"{name} imports {library}"


def test_no_module_is_part_of_a_circle() -> None:
    edges = {
        name: {imported for imported in imports(tree) if imported in INNER and imported != name}
        for name, tree in INNER.items()
    }
    # A package's __init__ gathers its modules; a module that imports a sibling runs the __init__, which is no circle.
    for name, targets in edges.items():
        edges[name] = {t for t in targets if not name.startswith(f"{t}.")}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"circle: {' -> '.join((*trail, name))}"
        if name not in done:
            for target in sorted(edges[name]):
                visit(target, (*trail, name))
            done.add(name)

    for name in edges:
        visit(name, ())
    assert done == set(INNER)


def test_library_prints_nothing_but_on_the_command_line() -> None:
    for name, tree in TREES.items():
        calls = [
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        assert "print" not in calls or part_of(name) == "cli", f"{name} prints"


def test_library_sets_no_seed_and_makes_no_key_of_its_own() -> None:
    for name, tree in INNER.items():
        if part_of(name) in (
            "study",
            "report",
            "data",
            "cli",
        ):  # a run turns its seed into keys; NumPy draws are seeded
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert ast.unparse(node.func) not in ("jax.random.key", "jax.random.PRNGKey", "np.random.seed"), name


def test_no_utils_and_no_file_over_400_lines() -> None:
    for name, path in SOURCES.items():
        assert path.stem not in ("utils", "util", "helpers", "misc"), name
        lines = len(path.read_text().splitlines())
        assert lines <= 400, f"{name} has {lines} lines: more than 400 are two ideas"


def test_every_part_is_named_by_the_root() -> None:
    import jsep

    parts = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    # `cli` is the program `jsep`, not a part to import.
    assert parts - {"cli"} | {"checks", "devices", "types"} == set(jsep.__all__)
    with pytest.raises(AttributeError, match="module 'jsep' has no attribute 'explains'; it has attack"):
        _ = jsep.explains
