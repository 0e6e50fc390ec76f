"""The page and its pictures, from whole, partial and broken run directories."""

import html.parser
import itertools
import json
import re
import warnings

import matplotlib
import numpy as np
import pytest

from jsep import record, report
from jsep.checks import InputError
from jsep.record.run_files import read
from jsep.report import style
from jsep.report.map_figures import attack_panel, chosen_pairs
from jsep.report.study_figures import training_curves

METHODS = ("sep_pos", "mat", "sep_neg")
VOID = {"meta", "link", "img", "br", "hr", "input"}
SHAPES = {"path", "line", "circle", "polygon", "rect", "use", "image"}  # these close themselves


class _Parser(html.parser.HTMLParser):
    """Collects tags and text and checks that every tag is closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_startendtag(self, tag, attrs):
        assert tag in SHAPES, tag
        self.tags.append((tag, dict(attrs)))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


def _parse(path):
    parser = _Parser()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.close()
    assert parser.open == []
    return parser


def _words(parser):
    return " ".join(" ".join(parser.text).split())


@pytest.fixture(scope="module", name="written")
def _written(tmp_path_factory, make_maps, make_metrics, make_result, write_run):
    """One full run, written once for the tests that only look at it."""
    directory = tmp_path_factory.mktemp("run") / "digits"
    write_run(directory, result=make_result(), metrics=make_metrics(2, 4), maps=make_maps(num_pairs=2, num_steps=20))
    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = report.write(directory)
    assert dict(matplotlib.rcParams) == before
    return path


def test_write_leaves_exactly_its_files(written):
    expected = {
        "overview",
        "training",
        "explanations",
        *(f"attack_{method}" for method in METHODS),
    }
    names = {path.name for path in written.parent.iterdir()}
    assert written.name == "index.html"
    assert names == {f"{name}.png" for name in expected} | {
        "index.html",
        "result.json",
        "metrics.jsonl",
        "maps.npz",
    }


def test_pictures_are_small_pngs(written):
    for path in written.parent.glob("*.png"):
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG\r\n")
        assert len(data) < 400 * 1024, path.name


def test_page_is_self_contained(written):
    parser = _parse(written)
    addresses = [value for _, attrs in parser.tags for key, value in attrs.items() if key in ("src", "href", "srcset")]
    assert addresses
    for address in addresses:
        assert address.startswith(("data:", "#")) or (written.parent / address).is_file()
    page = written.read_text(encoding="utf-8")
    # Names of a figure for its own parts are no addresses.
    assert not re.search(r"https?://|url\((?!#)|@import|<iframe|import\(|fetch\(|XMLHttpRequest", page)


def test_links_and_labels_lead_to_what_is_there_and_no_name_is_used_twice(written):
    tags = _parse(written).tags
    names = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(set(names)) == len(names)
    links = [a["href"][1:] for tag, a in tags if tag == "a" and a["href"].startswith("#")]
    assert len(links) >= 8
    assert {*links, *(a["for"] for _, a in tags if "for" in a)} <= set(names)


def test_every_image_has_a_text_and_headings_are_nested(written):
    parser = _parse(written)
    assert not [attrs for tag, attrs in parser.tags if tag == "img"]
    charts = [attrs for tag, attrs in parser.tags if tag == "svg" and attrs.get("class") == "chart"]
    # Each figure once; and the curve of the gallery, which its script names.
    assert len(charts) == len(list(written.parent.glob("*.png"))) + 1
    assert all(attrs["role"] == "img" for attrs in charts)
    assert sum(len(attrs.get("aria-label", "")) > 20 for attrs in charts) == len(charts) - 1
    levels = [int(tag[1]) for tag, _ in parser.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    # The title of a panel stands directly below that of its section.
    assert all(after - before <= 2 for before, after in itertools.pairwise(levels))


def test_page_shows_the_table_and_the_answer(written, make_result):
    words = _words(_parse(written))
    result = make_result()
    for method in METHODS:
        assert method in words
    table = report.format_table(result)
    for cell in re.findall(r"[\d.]+ ± [\d.]+", table):
        assert cell in words
    assert report.answer(result).headline in words
    assert result["environment"]["command"] in words
    assert result["pairs"]["hash"] in words


def test_written_twice_is_the_same(tmp_path, write_run):
    directory = write_run(tmp_path / "run")
    first, second = (
        {path.name: path.read_bytes() for path in report.write(directory).parent.iterdir()} for _ in range(2)
    )
    assert first == second


def test_missing_files_are_said_and_left_out(tmp_path, write_run):
    path = report.write(str(write_run(tmp_path / "run")))
    words = _words(_parse(path))
    assert "metrics.jsonl is missing" in words
    assert "maps.npz is missing" in words
    assert {p.name for p in tmp_path.joinpath("run").glob("*.png")} == {"overview.png"}


def test_everything_from_files_is_escaped(tmp_path, write_run, make_result, make_rows):
    evil = '<script>alert("1")</script>$title'
    rows = make_rows()
    for row in rows:
        row.update(method=row["method"] + evil, note=evil)
    result = make_result(
        rows=rows, experiment=evil, config={evil: evil}, environment={"command": evil, "device": [evil]}
    )
    result["pairs"].update(hash=evil, dataset=evil)
    path = report.write(write_run(tmp_path / "run", result=result))
    # Our own scripts are there, the one from the files is not.
    assert "<script>alert" not in path.read_text(encoding="utf-8")
    assert evil in _words(_parse(path))


def test_unusual_results_still_make_a_page(tmp_path, write_run):
    rows = [
        {"method": "../m", "seed": 0, "explanation_loss_end": float("nan"), "clean_accuracy": None},
        {
            "method": "标$",
            "seed": "a",
            "explanation_loss_start": 0.0,
            "explanation_loss_end": 0.0,
            "cosine_end": -0.5,
        },
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = report.write(write_run(tmp_path / "run", result={"format": 1, "rows": rows}))
    assert "not recorded" in _words(_parse(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "readable result.json"),
        ("{", "expected JSON"),
        ("[]", "JSON object"),
        ('{"format": 7}', "format 2"),
        ('{"format": 1, "rows": []}', "non-empty"),
        ('{"format": 1, "rows": [{"seed": 1}]}', "rows\\[0\\]"),
    ],
)
def test_a_broken_result_is_an_input_error_of_one_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        report.write(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "index.html").exists()


def test_broken_optional_files_are_named(tmp_path, write_run, make_metrics):
    directory = write_run(tmp_path / "run", metrics=make_metrics(1, 2))
    with open(directory / "metrics.jsonl", "a") as file:
        file.write('{"method": "mat", "epo')
    (directory / "maps.npz").write_bytes(b"PK nothing")
    run = read(directory)
    assert run.maps is None
    assert len(run.metrics) == 3 * 2 * 2
    assert "1 line(s) of metrics.jsonl could not be read" in run.remarks[0]
    assert run.remarks[1].startswith("maps.npz cannot be used")


def test_repeated_steps_count_once_and_the_later_one_wins(tmp_path, write_run):
    line = {"method": "mat", "seed": 0, "epoch": 1, "step": 3, "loss": 1.0}
    metrics = [
        line,
        {**line, "loss": 2.0},
        {"method": "mat", "seed": 0, "epoch": 1, "step": 3, "validation_clean_accuracy": 0.5},
    ]
    run = read(write_run(tmp_path / "run", metrics=metrics))
    assert [entry.get("loss") for entry in run.metrics] == [2.0, None]


def test_maps_of_a_wrong_shape_are_left_out(tmp_path, write_run, make_maps):
    maps = make_maps(num_pairs=3)
    maps["mat/victim_map"] = maps["mat/victim_map"][:, :-1]
    maps["sep_neg/target_map"][0, 0, 0] = np.nan
    maps["sep_pos/losses"][1, 5] = np.nan
    run = read(write_run(tmp_path / "run", maps=maps))
    assert set(run.maps.methods) == {"sep_pos"}
    assert len(run.maps.methods["sep_pos"]["losses"]) == 2
    assert any("victim_map for mat" in remark for remark in run.remarks)


def test_an_interrupted_write_keeps_the_old_page(tmp_path, write_run, monkeypatch):
    path = report.write(write_run(tmp_path / "run"))
    before = path.read_bytes()
    monkeypatch.setattr("jsep.report.rendering.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        report.write(path.parent)
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*.tmp"))


def test_course_of_the_attack_is_read_where_it_fits(tmp_path, write_run, make_maps):
    maps = make_maps(num_pairs=3, num_courses=2)
    run = read(write_run(tmp_path / "run", maps=maps))
    assert run.maps.course.steps == (0, 10, 40, 100)
    assert run.maps.course.pairs == (0, 1)
    assert set(run.maps.course.methods) == set(METHODS)
    np.testing.assert_array_equal(run.maps.course.methods["mat"]["maps"][:, 0], maps["mat/victim_map"][:2])
    maps["mat/course_maps"] = maps["mat/course_maps"][:, 1:]
    assert set(read(write_run(tmp_path / "one", maps=maps)).maps.course.methods) == {"sep_pos", "sep_neg"}
    maps["course_pairs"] = np.array([0, 7])
    assert read(write_run(tmp_path / "none", maps=maps)).maps.course is None


def test_the_pairs_shown_are_the_first_of_each_class(tmp_path, write_run, make_maps):
    maps = make_maps(num_pairs=12)
    maps["victim_labels"] = np.array([3, 3, 3, 1, 1, 2, 3, 3, 3, 3, 3, 3])
    maps["victim_images"][3] = maps["victim_images"][0]
    for method in METHODS:
        maps[f"{method}/predicted"] = maps["victim_labels"]
    read_maps = read(write_run(tmp_path / "run", maps=maps)).maps
    assert chosen_pairs(read_maps, 3) == [0, 4, 5]
    assert chosen_pairs(read_maps, 100) == [0, 1, 2, *range(4, 12)]


def test_victims_that_a_model_misclassifies_are_not_shown(tmp_path, write_run, make_maps):
    maps = make_maps(num_pairs=4)
    maps["victim_labels"] = np.array([3, 3, 1, 2])
    for method in METHODS:
        maps[f"{method}/predicted"] = maps["victim_labels"].copy()
    maps["sep_neg/predicted"][[0, 3]] = 0
    assert chosen_pairs(read(write_run(tmp_path / "run", maps=maps)).maps, 4) == [1, 2]
    for method in METHODS:
        maps[f"{method}/predicted"] = maps["victim_labels"] + 1
    # Where no victim is classified correctly, the captions say it.
    wrong = read(write_run(tmp_path / "wrong", maps=maps)).maps
    assert chosen_pairs(wrong, 4) == [0, 1, 2, 3]
    assert any("true class 3" in axes.get_xlabel() for axes in attack_panel(wrong, "mat").axes)
    assert any("predicted class 4" in axes.get_xlabel() for axes in attack_panel(wrong, "mat").axes)


def test_colour_panels_and_lost_predictions_are_drawn(tmp_path, write_run, make_maps):
    maps = make_maps(size=16, channels=3, num_pairs=2)
    maps["mat/manipulated_predicted"] = maps["mat/manipulated_predicted"] + 1
    read_maps = read(write_run(tmp_path / "run", maps=maps)).maps
    figure = attack_panel(read_maps, "mat")
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert any("not kept" in label for label in labels)


def test_large_pictures_lose_resolution_not_the_bound():
    with style.drawing():
        figure = style.new_figure(4.0)
        figure.subplots().imshow(np.random.default_rng(0).random((400, 900)), interpolation="nearest")
    assert len(style.to_png(figure, max_bytes=150_000)) <= 150_000


def test_methods_keep_their_colour_and_never_share_one():
    assert style.colours(["mat", "sep_neg"])["mat"] == style.colours(["other", "mat"])["mat"]
    methods = ["x", "mat", "y", "sep_pos", "z", "sep_neg"]
    assert len(set(style.colours(methods).values())) == len(methods)
    assert len(set(style.marks(methods).values())) == len(methods)


def test_the_mean_curve_stops_where_a_seed_stops():
    metrics = [
        {"method": "mat", "seed": seed, "epoch": epoch, "accuracy": 0.5} for seed in (0, 1) for epoch in range(3 + seed)
    ]
    figure = training_curves(metrics, ["mat"])
    mean = figure.axes[0].lines[-1].get_ydata()
    np.testing.assert_array_equal(np.isnan(mean), [False, False, False, True])
    assert training_curves([{"method": "mat", "seed": 0, "epoch": 0}], ["mat"]) is None


def test_result_is_read_as_written(written, make_result):
    assert read(written.parent).result == record.upgrade(json.loads(json.dumps(make_result())))
