"""`dspy-mux risk`: one JSON object, a table, a page, and mistakes in one sentence."""

from __future__ import annotations

import pytest

from ..support.rows import jsonl
from .rows import some_rows

RULE = {
    *("threshold", "coverage", "risk", "risk_upper", "promised", "kept_share"),
    *("ece", "brier", "aurc", "n_calibration", "n_test"),
}
LARGE = {"escalated_share", "accuracy", "accuracy_large_alone", "curve"}


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    skill = {"a": 0.8, "b": 0.7, "big": 0.95}
    return jsonl(tmp_path_factory.mktemp("pool") / "bank.jsonl", some_rows(240, 3, skill))


def test_one_rule_is_one_entry(pool, as_json):
    found = as_json("risk", pool, "--max-risk", 0.2, "--repeats", 3)
    assert (found["max_risk"], found["confidence"], found["repeats"]) == (0.2, 0.9, 3)
    assert "exchangeable" in found["assumption"]
    assert list(found["rules"]) == ["consistency"]
    figures = found["rules"]["consistency"]
    assert figures.keys() >= RULE
    assert not figures.keys() & LARGE
    assert figures["promised"]
    assert 0 < figures["threshold"] <= 1
    assert 0 < figures["coverage"] <= 1
    assert 0 <= figures["risk"] <= figures["risk_upper"] <= 0.2
    assert 0 <= figures["kept_share"] <= 1
    assert (figures["n_calibration"], figures["n_test"]) == (60, 60)


def test_all_rules_with_a_large_model(pool, as_json):
    found = as_json("risk", pool, "--rule", "all", "--escalate", "big", "--repeats", 2)
    assert (found["members"], found["escalate"]) == (["a", "b"], "big")
    assert set(found["rules"]) == {"self_consistency", "pooled", "consistency", "calibrated"}
    for figures in found["rules"].values():
        assert figures.keys() >= RULE | LARGE
        first, last = figures["curve"][0], figures["curve"][-1]
        assert (first["share"], last["share"]) == (0, 1)
        assert last["accuracy"] == pytest.approx(figures["accuracy_large_alone"])
        assert figures["escalated_share"] == pytest.approx(1 - figures["coverage"])


def test_without_a_promise_figures_are_null_and_the_labels_needed_are_said(bank, as_json, dspy_mux):
    figures = as_json("risk", bank)["rules"]["consistency"]
    assert (figures["threshold"], figures["risk_upper"], figures["risk"]) == (None, None, None)
    assert (figures["promised"], figures["coverage"]) == (False, 0)
    assert "needs at least 45" in figures["promise"]
    code, out, _ = dspy_mux("risk", bank)
    assert code == 0
    assert "none" in out
    told = " ".join(out.split())
    assert "10 of the 40 labelled questions choose the threshold" in told
    assert "at least 45, with no wrong answer among them: about 180 labelled questions in" in told


def test_a_promise_stands_with_its_assumption_below_the_table(pool, dspy_mux):
    code, out, _ = dspy_mux("risk", pool, "--max-risk", 0.2, "--repeats", 2, "--escalate", "big")
    told = " ".join(out.split())
    assert code == 0
    assert "at most 20 % wrong among the answered, with 90 % confidence (even at most" in told
    assert (
        "as answers of every confidence keep the limit), if the questions to come are like these"
        in told
    )
    assert "60 others choose the threshold, and 60 others, which chose nothing" in told
    assert "go to big, one call each" in told


def test_a_recorded_split_fits_where_it_says(bank, as_json):
    found = as_json("risk", bank, "--split-field", "split", "--repeats", 4)
    figures = found["rules"]["consistency"]
    assert found["repeats"] == 4
    assert (figures["n_fit"], figures["n_calibration"], figures["n_test"]) == (20, 10, 10)


def test_a_seed_repeats_the_figures(pool, as_json):
    one, same, other = (
        as_json("risk", pool, "--k", 2, "--repeats", 2, "--seed", seed) for seed in (1, 1, 2)
    )
    assert one == same != other


def test_the_page_has_both_figures(pool, tmp_path, dspy_mux):
    page = tmp_path / "risk.html"
    asked = ("--max-risk", 0.2, "--repeats", 2, "--escalate", "big", "--html", page)
    code, _, err = dspy_mux("risk", pool, *asked)
    assert (code, err) == (0, f"The figures are in {page}.\n")
    text = page.read_text("utf-8")
    assert text.count("Plotly.newPlot(") == 2
    for words in ("95 % band", "threshold ", "at random", "oracle", "big alone", "width=device"):
        assert words in text


def test_a_name_with_tags_stays_text_on_the_page(tmp_path, dspy_mux):
    rows = some_rows(60, 2, {"a": 0.8, "<img src=x>": 0.9})
    page, bank = tmp_path / "risk.html", jsonl(tmp_path / "bank.jsonl", rows)
    assert dspy_mux("risk", bank, "--escalate", "<img src=x>", "--html", page)[0] == 0
    assert "<img src=x>" not in page.read_text("utf-8")


def test_mistakes_are_one_sentence(pool, tmp_path, refused):
    assert "no member 'gpt5'" in refused("risk", pool, "--escalate", "gpt5")
    assert "cannot be in the pool" in refused("risk", pool, "--escalate", "a", "--members", "a,b")
    told = refused("risk", pool, "--max-risk", 20)
    assert " --max-risk must lie between 0 and 1, not 20: 0.2 is 20 %." in told
    assert "confidence must lie" in refused("risk", pool, "--confidence", 90)
    assert "must be from 1 to" in refused("risk", pool, "--repeats", 0)
    assert "no rule 'best'" in refused("risk", pool, "--rule", "best")
    assert "log-probabilities" in refused("risk", pool, "--rule", "probability")
    assert "no field 'x'" in refused("risk", pool, "--context", "x", "--rule", "calibrated")
    assert "in a folder that exists" in refused("risk", pool, "--html", tmp_path / "no" / "x.html")


def test_several_rules_are_no_single_promise_and_accuracies_are_named(pool, dspy_mux):
    code, out, _ = dspy_mux("risk", pool, "--rule", "all", "--max-risk", 0.6, "--repeats", 1)
    told = " ".join(out.split())
    assert code == 0
    assert (
        told.count("It holds for a mux with accuracies={'a': ") == 2
    )  # consistency, self_consistency
    assert "one that is picked for its threshold or coverage here is broken more often" in told
    alone = dspy_mux("risk", pool, "--rule", "pooled", "--max-risk", 0.6, "--repeats", 1)[1]
    assert "accuracies" not in alone
    assert "picked for its threshold" not in alone
