"""Pool files that hold a secret, or more than a reader should be made to read: refused in a
sentence that repeats nothing."""

from __future__ import annotations

import traceback

import dspy
import pytest

from dspy_mux import ConfigurationError, DataError, SampleBank, SLMMux
from dspy_mux.bank.fingerprint import fingerprint_member
from dspy_mux.mux.pool_file import PoolFile
from dspy_mux.redact import echoes_of, is_secret, looks_like_a_key, masked

from ..support.hostile_texts import EVERYTHING, obeyed
from ..support.scripted import scripted_lm

MEMBER = '[[members]]\nmodel = "openai/x"\n'
SECRET = "zq7-Secret-81c5d2"
LITERAL = "sk-proj-81c5d2e9f0a7b6"


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "pool.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return path

    return write


@pytest.mark.parametrize(
    "setting",
    [
        f'api_key = "{SECRET}"',
        f'API-KEY = "{SECRET}"',
        f'options = {{ api_key = "{SECRET}" }}',
        f'options = {{ extra_body = {{ deep = [{{ password = "{SECRET}" }}] }} }}',
        f'options = {{ extra_headers = {{ Authorization = "Bearer {SECRET}" }} }}',
        f'options = {{ aws_session_token = "{SECRET}" }}',
        f'options = {{ vertex_credentials = "{SECRET}" }}',
        f'options = {{ azure_ad_token = "{SECRET}" }}',
        f'options = {{ note = "Bearer {SECRET}" }}',
        f'api_base = "https://user:{SECRET}@host/v1"',
        f'api_base = "https://host/v1?api_key={SECRET}"',
        f'api_base = "https://host/v1?a=b&access_token={SECRET}"',
        f'options = {{ base_url = "https://user:{SECRET}@host/v1" }}',
        f'api_key_env = "{LITERAL}"',
        f'options = {{ user = "{LITERAL}" }}',
        f'name = "{LITERAL}"',
    ],
)
def test_a_secret_in_a_pool_file_is_refused(written, setting):
    with pytest.raises(ConfigurationError) as refusal:
        PoolFile.load(written(MEMBER + setting))
    assert "environment variable" in str(refusal.value)
    whole = "".join(traceback.format_exception(refusal.value))
    assert SECRET not in whole
    assert LITERAL not in whole


@pytest.mark.parametrize(
    "mistake", ["k = 0", "colour = 1", "adapter = 'xml'", "max_tokens = 'many'"]
)
def test_secrets_beside_other_mistakes_reach_no_traceback(written, mistake):
    with pytest.raises(ConfigurationError) as refusal:
        PoolFile.load(written(f'{MEMBER}{mistake}\nname = "{SECRET}"'))
    assert SECRET not in "".join(traceback.format_exception(refusal.value))


@pytest.mark.parametrize("key", ["hf_AbCdEfGhIjKlMnOp", "abcdef0123456789", "AKIAIOSFODNN7EXAMPLE"])
def test_a_key_given_as_variable_is_not_repeated(written, key):
    with pytest.raises(ConfigurationError, match="environment variable") as refusal:
        PoolFile.load(written(f'{MEMBER}api_key_env = "{key}"')).mux()
    assert key not in "".join(traceback.format_exception(refusal.value))


def test_settings_that_only_sound_like_secrets_are_taken(written):
    options = (
        'stop_token_ids = [1], max_completion_tokens = 5, prompt_cache_key = "a", pad_token = "b", '
        "min_tokens = 1"
    )
    address = 'api_base = "http://user@host/v1?tokens=5"'
    text = f'{MEMBER}name = "sk-learn-helper"\n{address}\noptions = {{ {options} }}'
    assert PoolFile.load(written(text)).members[0].options["stop_token_ids"] == [1]


@pytest.mark.parametrize(
    "text",
    [
        "k = " + "9" * 10**5,
        "k = 0x" + "f" * 10**5,
        "k = 1e999999999",
        "a = " + "[" * 10**4 + "]" * 10**4,
        "a = " + "{a=" * 10**4 + "1" + "}" * 10**4,
        ".".join("a" * 20_000) + " = 1",
        "[" + ".".join("a" * 20_000) + "]",
        MEMBER + "options = {" + "a = {" * 3000 + "}" * 3000 + "}",
        "# " + "x" * 2**21,
        f'program = "{EVERYTHING.encode("unicode_escape").decode()}"',
        MEMBER + 'name = """' + "\\u202e" * 20 + '"""\nlocal = "x"',
        'program = "q -> a: ' + "list[" * 190 + "int" + "]" * 190 + '"\n' + MEMBER,
        b"\xff\xfe\x00",
        b"k = 3\x00",
    ],
    ids=range(14),
)
def test_an_oversized_file_is_one_sentence(written, text):
    with pytest.raises((ConfigurationError, DataError)) as refusal:
        PoolFile.load(written(text)).mux()
    assert len(str(refusal.value)) < 1000
    assert obeyed(str(refusal.value)) == set()


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "aws_secret_access_key",
        "extra_headers",
        "Authorization",
        "x-api-key",
        "hf_token",
        "cookie",
    ],
)
def test_names_of_secrets_are_known(name):
    assert is_secret(name)
    assert not is_secret("max_tokens")


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key: {LITERAL}",
        f"{{'Authorization': 'Bearer {SECRET}'}}",
        f'{{\\"Authorization\\": \\"Basic {SECRET}\\"}}',
        f"https://user:{SECRET}@host/v1",
        f"api_key={SECRET}&b=1",
        f"password: {SECRET}",
    ],
)
def test_messages_mask_what_looks_like_a_key(text):
    assert SECRET not in masked(text)
    assert LITERAL not in masked(text)


def test_an_ordinary_message_is_left_as_it_is():
    text = (
        "HTTP 404: the model 'sklearn' is not found at http://127.0.0.1:9/v1; set HF_HUB_OFFLINE "
        "or a token limit of 5"
    )
    assert masked(text) == text
    assert not looks_like_a_key(text)


def test_banks_leave_out_keys_deep_in_settings(tmp_path):
    deep = {
        "extra_body": {"auth": {"token": SECRET}, "top_k": 5},
        "proxy": f"http://user:{SECRET}@proxy:3128",
        "top_p": 0.5,
    }
    mux = SLMMux("question -> answer", [scripted_lm("a", ["x"], **deep)], k=1)
    key, told = fingerprint_member(mux, 0)
    assert told["settings"]["extra_body"] == {"top_k": 5}
    assert SECRET not in str(told)
    bank = SampleBank(tmp_path / "bank.sqlite")
    bank.add_programs([("a", key, told)])
    bank.close()
    assert SECRET.encode() not in (tmp_path / "bank.sqlite").read_bytes()
    other = {**deep, "extra_body": {"auth": {"token": "another"}, "top_k": 5}}
    again = SLMMux("question -> answer", [scripted_lm("a", ["x"], **other)], k=1)
    assert fingerprint_member(again, 0)[0] == key  # a key that is changed makes no other program


def test_placeholders_for_keys_are_not_looked_for_in_replies():
    for key in ("ollama", "lm-studio", "EMPTY", "customer_identifier"):
        assert echoes_of(dspy.LM("openai/x", api_key=key)) == []
