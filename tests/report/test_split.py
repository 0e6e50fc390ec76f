"""The split of the loss in tables and the figure; older results without it look as before."""

from jsep import record, report
from jsep.report.pictures import draw
from jsep.report.records import read
from jsep.report.split import loss_split

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


def test_tables_have_a_block_for_the_split_and_older_results_do_not(make_rows, make_result) -> None:
    old = make_result()
    new = make_result(rows=with_split(make_rows()))
    for table in (report.format_table, report.markdown_table):
        assert "1 − concordance start" not in table(old)
        assert "1 − concordance end" in table(new)
        assert "0.620 ± 0.000" in table(new)
        assert "Spearman" not in table(new)
    assert max(map(len, report.format_table(new).splitlines())) <= 120
    # A second table below the first, which stays what it was.
    blocks = report.markdown_table(new).split("\n\n")
    assert blocks[0] == report.markdown_table(old).split("\n\n")[0]
    assert blocks[1].startswith("| method | 1 − concordance start |")


def test_figure_of_the_split_is_drawn_where_there_is_one(make_rows, make_result, write_run, tmp_path) -> None:
    run = write_run(tmp_path / "new", result=make_result(rows=with_split(make_rows())))
    files = {picture.file: picture for picture in draw(read(run))}
    assert 5_000 < len(files["split.png"].data) < 400 * 1024
    figure = loss_split(record.summarise(with_split(make_rows())))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{m}, {when}" for m in ("sep_pos", "mat", "sep_neg") for when in ("start", "end")]
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths[0] == 1e7 * (7e-4 + 7e-4)
    old = write_run(tmp_path / "old", result=make_result())
    assert "split.png" not in {picture.file for picture in draw(read(old))}
    page = report.write(run).read_text()
    assert "loss of permuted pixels" in page or "permuted pixels" in page
    assert "per_pair" not in page
