"""`python -m eval risk`, on small banks of the public ones' names."""

from __future__ import annotations

import gzip
import json
from xml.etree import ElementTree

import pytest

from dspy_mux import ConfigurationError
from eval.paper.pools import POOLS
from eval.paper.risk import LARGE, RiskTable, run

from ...cli.rows import some_rows

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def data(tmp_path):
    for name, large in LARGE.items():
        [pool] = [pool for pool in POOLS if pool.name == name]
        rates = (0.9, 0.7, 0.6, 0.5)
        skill = dict(zip(pool.members, rates, strict=False)) | {large: 0.97}
        rows = some_rows(80, 2, skill, dataset=pool.dataset or "gym")
        with gzip.open(tmp_path / pool.file, "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return tmp_path


def options(data, **more):
    plain = {"as_json": True, "as_markdown": False} | more
    return RiskTable(data, [0.2, 0.3], 0.8, k=2, repeats=2, seed=0, **plain)


def test_each_rule_is_measured_at_each_risk_on_each_pool(data, capsys):
    run(options(data))
    pools = {each["pool"]: each for each in json.loads(capsys.readouterr().out)["pools"]}
    assert {name: each["large"] for name, each in pools.items()} == LARGE
    for pool in pools.values():
        assert pool["questions"] == 80
        for rule, found in pool["rules"].items():
            assert set(found["risks"]) == {"0.2", "0.3"}
            for figures in found["risks"].values():
                assert figures["n_test"] == 20
                assert 0.8 <= figures["kept_of_population"] <= 1, rule
            shares = [found["needed"][part]["share"] for part in ("0.95", "0.99")]
            assert shares[0] <= shares[1] or shares[1] is None
    assert "calibrated, by task" in pools["reasoning-gym, 3 close members"]["rules"]
    assert "calibrated, by task" not in pools["GSM8K, 4 weak members"]["rules"]


def test_the_tables_say_what_they_rest_on(data, capsys):
    run(options(data, as_json=False, as_markdown=True))
    told = capsys.readouterr().out
    assert told.count("### ") == 4
    assert "gpt4 (" in told
    assert "exchangeable with the bank's" in told
    assert "at least 80 % is promised" in told


def test_the_picture_has_each_rules_curve(data, tmp_path):
    picture = tmp_path / "picture.svg"
    run(options(data, svg=picture))
    root = ElementTree.fromstring(picture.read_text())
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert {"calibrated", "pooled", "consistency"} < set(texts)
    assert any(text.startswith("gpt4 alone") for text in texts)
    assert "accuracy, %" in texts
    assert "gpt4 alone is right on" in root.find(f"{SVG}title").text
    lines = [each.get("points").split() for each in root.iter(f"{SVG}polyline")]
    assert [len(line) for line in lines] == [101] * 6
    # Wherever escalation starts, it ends at the large model's accuracy.
    assert len({line[-1] for line in lines}) == 1
    with pytest.raises(ConfigurationError, match="in a folder that exists"):
        run(options(data, svg=tmp_path / "none" / "picture.svg"))
