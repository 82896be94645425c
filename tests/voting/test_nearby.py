"""Members' accuracies near a question, by its category or its words."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from dspy_mux import ConfigurationError, DataError
from dspy_mux.mux.saved_rule import load_rule, rule_state
from dspy_mux.voting import nearby
from dspy_mux.voting.ballot import Ballot
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.nearby import (
    Index,
    Nearby,
    best_shrinkage,
    context_field,
    gains,
    marks_of,
)
from dspy_mux.voting.rules import Consistency
from dspy_mux.voting.tally import Tally

COUNT = 80


def text_of(kind, subject):
    return (
        f"Which city is the capital of {subject}?"
        if kind == "capital"
        else f'Which word is the plural of "{subject}"?'
    )


def a_training(count=COUNT, seed=0, *, tell=True):
    """Member a knows capitals, b plurals; the texts tell which is asked for, unless told not to."""
    random = np.random.default_rng(seed)
    kinds = random.choice(["capital", "plural"], count)
    knows = np.stack([kinds == "capital", kinds == "plural"], axis=1)
    right = np.where(random.random((count, 2)) < 0.9, knows, ~knows)
    votes = np.where(right, 0, [1, 2])[..., None]
    subjects = [f"thing{seed}x{at}" for at in range(count)]
    texts = list(map(text_of, kinds, subjects)) if tell else subjects
    training = Training(
        Tally(votes), (votes == 0).astype(float), ("a", "b"), texts, "question", texts=True
    )
    return training, kinds


def test_the_text_says_whom_to_believe():
    rule = fit(a_training()[0])
    test, kinds = a_training(seed=1)
    picks = rule.pick(test.tally, test.contexts)
    believed = np.where(kinds == "capital", 0, 1)
    disputed = test.tally.votes[:, 0, 0] != test.tally.votes[:, 1, 0]
    assert (picks.member == believed)[disputed].all()
    without = fit(dataclasses.replace(a_training()[0], contexts=None, texts=False))
    scores = (test.tally.votes == 0).astype(float)
    assert picks.scores(scores).mean() > without.pick(test.tally).scores(scores).mean() + 0.2


def test_texts_that_say_nothing_are_left_out():
    training, _ = a_training(tell=False)
    rule = fit(training)
    assert rule.nearby is None
    plain = fit(dataclasses.replace(training, contexts=None, texts=False))
    assert rule.weights == pytest.approx(plain.weights)


def test_a_live_question_is_decided_as_a_replayed_one():
    rule = fit(a_training()[0])
    test, _ = a_training(seed=2, count=20)
    picks = rule.pick(test.tally, test.contexts)
    for at, text in enumerate(test.contexts):
        first, second = (tuple(row) for row in test.tally.votes[at].tolist())
        ballots = [Ballot("a", first), Ballot("b", second)]
        choice = rule.given({"question": text}).choose(ballots)
        assert choice.answer == test.tally.votes[at, picks.member[at], picks.draw[at]]
        assert choice.confidence == pytest.approx(picks.confidence[at])


def test_a_saved_rule_remembers_what_is_nearby():
    rule = fit(a_training()[0])
    saved = json.loads(json.dumps(rule_state(rule)))
    loaded = load_rule(saved, Consistency())
    assert loaded.nearby == rule.nearby is not None
    test, _ = a_training(seed=1)
    np.testing.assert_array_equal(
        loaded.pick(test.tally, test.contexts).member, rule.pick(test.tally, test.contexts).member
    )
    saved["nearby"]["right"] = [[True]] * len(saved["nearby"]["right"])
    with pytest.raises(DataError, match="damaged"):
        load_rule(saved, Consistency())


def test_a_category_has_weight_before_its_own_weights_are_learned():
    training, kinds = a_training(40)
    by_kind = dataclasses.replace(training, contexts=kinds.tolist(), context="kind", texts=False)
    rule = fit(by_kind)
    assert rule.context_weights.keys() == {"capital", "plural"}
    weights = rule.nearby.context_weights(["capital", "plural", "never seen"])
    assert weights[0, 0] > weights[0, 1]
    assert weights[1, 0] < weights[1, 1]
    assert (weights[2] == 0).all()


def test_similarity_is_the_squared_cosine_of_weighted_marks():
    texts = ["red cat", "red dog", "blue dog", "blue fish", "3 + 4"]
    marks = [marks_of(text, True) for text in texts]
    found = Index(marks).similarity(marks)
    every = sorted({mark for each in marks for mark in each})
    dense = np.array([[mark in each for mark in every] for each in marks], float)
    dense *= np.log((1 + len(texts)) / (1 + dense.sum(axis=0)))
    dense /= np.linalg.norm(dense, axis=1, keepdims=True)
    np.testing.assert_allclose(found, (dense @ dense.T) ** 2, atol=1e-6)
    assert Index(marks).similarity([(), marks_of("unseen words", True)]).sum() == 0
    assert Index([]).similarity([marks_of("x", True)]).shape == (1, 0)


def test_scripts_without_spaces_have_words_too():
    first, second = marks_of("法国的首都是哪里", True), marks_of("英国的首都是哪里", True)
    assert len(set(first) & set(second)) > 6
    assert marks_of("", True) == ()
    assert marks_of("\ud800", True)


def test_shrinkage_is_by_what_the_others_say():
    random = np.random.default_rng(0)
    kinds = random.integers(0, 4, 200)
    near = (kinds[:, None] == kinds).astype(float)
    np.fill_diagonal(near, 0)
    telling = (random.random((200, 4)) < np.where(np.eye(4)[kinds] > 0, 0.9, 0.3)).astype(float)
    assert best_shrinkage(near, telling, telling) <= 10
    always = np.ones((200, 4))
    assert math.isinf(best_shrinkage(near, always, always))
    assert (gains(near, telling, math.inf) == 0).all()
    assert np.array_equal(gains(near, telling, 3.0).argmax(axis=1), kinds)


def test_of_many_training_questions_some_are_looked_up(monkeypatch):
    monkeypatch.setattr(nearby, "MOST_QUESTIONS", 30)
    training, kinds = a_training()
    rule = fit(training)
    assert len(rule.nearby.marks) == len(rule.nearby.right) == 30
    asked = [marks_of(text, True) for text in training.contexts]
    rows = [asked.index(marks) for marks in rule.nearby.marks]
    right = training.correct[rows, :, 0] > 0
    assert rule.nearby.right == tuple(map(tuple, right.tolist()))
    weights = rule.nearby.context_weights([text_of(kind, "new") for kind in ("capital", "plural")])
    assert weights[0, 0] > weights[0, 1]
    assert weights[1, 0] < weights[1, 1]


def test_auto_names_the_field_of_the_text():
    assert context_field("auto", ["gold", "problem", "question"]) == ("question", True)
    assert context_field("auto:passage", ["passage"]) == ("passage", True)
    assert context_field("category", []) == ("category", False)
    with pytest.raises(ConfigurationError, match=r"none among gold: .* as in auto:FIELD\.$"):
        context_field("auto", ["gold"])


def test_damaged_numbers_are_refused():
    with pytest.raises(DataError, match="damaged"):
        Nearby(True, ((1,),), ((True,), (False,)), 3.0, (1.0, 1.0))
    with pytest.raises(DataError, match="damaged"):
        Nearby(True, ((1,),), ((True,),), math.nan, (1.0, 1.0))
    with pytest.raises(DataError, match="damaged"):
        Nearby(True, ((10**30,),), ((True,),), 3.0, (1.0, 1.0))
