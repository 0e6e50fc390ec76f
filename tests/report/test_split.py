"""The split of the loss in tables and the figure; older results without it look as before."""

import pytest

from jsep import record, report
from jsep.report.study_figures import loss_and_chance

ONE_MINUS_CONCORDANCE = {"sep_pos": 0.62, "mat": 0.55, "sep_neg": 0.51}


def with_split(rows: list[dict]) -> list[dict]:
    for row in rows:
        own = {"sep_pos": 7e-4, "mat": 8e-4, "sep_neg": 9e-4}[row["method"]]
        for when in ("start", "end"):
            row[f"concentration_{when}"] = own
            row[f"overlap_{when}"] = own + 7e-4 - row[f"explanation_loss_{when}"]
            row[f"one_minus_concordance_{when}"] = ONE_MINUS_CONCORDANCE[row["method"]] + 0.3 * (when == "start")
            row[f"chance_loss_{when}"] = row[f"explanation_loss_{when}"] / row[f"one_minus_concordance_{when}"]
        row["concentration_target"] = 7e-4
        row["per_pair"] = {"explanation_loss_end": [row["explanation_loss_end"]] * 3}
    return rows


def test_tables_have_a_group_for_the_split_and_older_results_do_not(make_rows, make_result) -> None:
    old = make_result()
    new = make_result(rows=with_split(make_rows()))
    for style in ("terminal", "markdown"):
        assert "1 − concordance" not in report.format_table(old, style=style).partition("question")[0]
        assert "1 − concordance end" in " ".join(report.format_table(new, style=style).split())
        assert "0.620 ± 0.000" in report.format_table(new, style=style)
        assert "Spearman" not in report.format_table(new, style=style)
    assert max(map(len, report.format_table(new).splitlines())) <= 100
    titles = [table.title for table in report.tables_of(new)]
    assert [title for title in titles if title not in [table.title for table in report.tables_of(old)]] == [
        "Concentration and overlap"
    ]


def test_figure_of_the_split_is_drawn_where_there_is_one(make_rows, make_result, write_run, tmp_path) -> None:
    summaries = record.summarise(with_split(make_rows()))
    figure = loss_and_chance(summaries, 64)
    assert figure is not None
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    names = ("SEP +, flattened", "MAT", "SEP −, sharpened")
    assert labels == [f"{name}, {when}" for name in names for when in ("start", "end")]
    loss, apart = ([line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"] for axes in figure.axes)
    assert loss[0] == pytest.approx(64**2 * summaries[0]["explanation_loss_start"]["mean"])
    assert apart[1] == pytest.approx(0.62)
    assert loss_and_chance(record.summarise(make_rows()), 64) is None
    page = report.write(write_run(tmp_path / "new", result=make_result(rows=with_split(make_rows()))))
    assert (page.parent / "split.png").exists()
    assert "per_pair" not in page.read_text()
