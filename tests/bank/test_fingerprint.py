from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux.bank.fingerprint import fingerprint_inputs
from dspy_mux.redact import is_secret


@given(
    st.dictionaries(
        st.text(max_size=4), st.one_of(st.text(max_size=4), st.integers(), st.none()), max_size=5
    )
)
@settings(max_examples=50)
def test_a_fingerprint_of_inputs_knows_no_order_and_no_two_inputs_share_one(inputs):
    backwards = dict(reversed(inputs.items()))
    assert fingerprint_inputs(inputs) == fingerprint_inputs(backwards)
    assert (
        fingerprint_inputs({**inputs, "another": 1}) != fingerprint_inputs(inputs)
        or inputs.get("another") == 1
    )


def test_values_without_a_json_form_are_told_without_an_address():
    class Image:
        pass

    assert fingerprint_inputs({"image": Image()}) == fingerprint_inputs({"image": Image()})


def test_sets_have_one_fingerprint_in_every_process():
    script = """
        from dspy_mux.bank.fingerprint import fingerprint_inputs
        print(fingerprint_inputs({"tags": {"deep": [{"a", "b", "c", "d"}]}}))
    """
    run = [sys.executable, "-c", textwrap.dedent(script)]
    assert (
        len(
            {
                subprocess.run(run, capture_output=True, text=True, check=True).stdout
                for _ in range(3)
            }
        )
        == 1
    )


@pytest.mark.parametrize(
    "name", ["api_key", "OPENAI_API_KEY", "aws_secret_access_key", "extra_headers", "Authorization"]
)
def test_names_of_secrets_are_known(name):
    assert is_secret(name)
    assert not is_secret("temperature")
