"""The study of how pairs are chosen."""

import json

import pytest
from tiny_study import CONFIG

from jsep import evaluate, study
from jsep.checks import InputError
from jsep.study import selection


@pytest.mark.slow
def test_selection_study_attacks_every_model_on_the_same_draws(finished, tmp_path):
    run_dir, result, _ = finished
    settings = {
        "study_dir": str(run_dir), "selections": ("kmeans", "random"), "num_draws": 2, "num_pairs": 4,
        "cluster_counts": ("3",), "num_clusters": 3, "feature_networks": ("features", "mat", "pixels"),
    }  # fmt: skip
    found = study.run(study.SelectionConfig.of(**settings), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == found
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"clusters.png", "draws.png", "maps.npz"}
    hashes = {}
    for draw in found["draws"]:
        hashes.setdefault((draw["selection"], draw["draw"]), set()).add(draw["hash"])
    assert len(found["draws"]) == 2 * 2 * 2
    assert all(len(each) == 1 for each in hashes.values()), "models of a draw were attacked on different pairs"
    assert len(set.union(*hashes.values())) == 4
    assert found["summary"]["methods"] == ["mat", "sep_neg"]
    # The study's own pairs are those of its own features, clusters and seed: the same selection again.
    trained = study.load_trained(run_dir)
    config = study.SelectionConfig.of(**settings)
    points = selection._points(config, trained, "features")
    again = evaluate.select_pairs(
        points, trained.test, num_clusters=CONFIG.pairs.num_clusters, num_pairs=CONFIG.pairs.num_pairs,
        feature_network=trained.pairs.feature_network, seed=CONFIG.seed,
    )  # fmt: skip
    assert again.hash == result["pairs"]["hash"]
    for entry in found["clusterings"]:
        assert entry["model"] in ("mat_seed0", "sep_neg_seed0")
        assert entry["loss_inter"] > 0
    assert len(found["clusterings"]) == 3 * 4 * 2
    # Stopped before its last but one attack, it goes on from there.
    asked = []

    def stop(what, record):
        if record.get("unit") == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(config, tmp_path / "other", on_progress=stop)
    resumed = study.run(
        config, tmp_path / "other", resume=True, on_progress=lambda what, record: asked.append((what, record))
    )
    assert [record["unit"] for _, record in asked if record.get("of") == "attack"] == [6, 7]
    for part in ("draws", "clusterings", "summary"):
        assert resumed[part] == found[part]


def test_selection_study_refuses_bad_input_before_it_writes(finished, tmp_path):
    run_dir = str(finished[0])
    for change, message in [
        ({"study_dir": str(tmp_path)}, "holds no study"),
        ({"selections": ("kmean",)}, "did you mean 'kmeans'"),
        ({"cluster_counts": ("three",)}, "cluster_counts must be whole numbers >= 2, got three"),
        ({"num_draws": 0}, "num_draws must be an integer >= 1"),
        ({"feature_networks": ("resnet",)}, "unknown feature network 'resnet'"),
    ]:
        with pytest.raises(InputError, match=message):
            study.run(study.SelectionConfig.of(**({"study_dir": run_dir} | change)), tmp_path / "none")
        assert not (tmp_path / "none").exists()
