"""Keys and other words: what is masked in messages, and what never is."""

from __future__ import annotations

import base64
import random
import string

import pytest

from dspy_mux.keys import is_random, mask_keys, may_be_key
from dspy_mux.redact import looks_like_a_key, masked

_BASE62 = string.ascii_letters + string.digits


def _drawn(count: int, alphabet: str = _BASE62, seed: int = 0) -> str:
    return "".join(random.Random(f"{count} {alphabet} {seed}").choices(alphabet, k=count))


#: Made up in the form that each maker gives its keys.
KEYS = {
    "OpenAI": "sk-" + _drawn(48),
    "OpenAI project": "sk-proj-" + _drawn(64, _BASE62 + "_-"),
    "Anthropic": "sk-ant-api03-" + _drawn(80, _BASE62 + "_-"),
    "OpenRouter": "sk-or-v1-" + _drawn(64, "0123456789abcdef"),
    "Groq": "gsk_" + _drawn(52),
    "Hugging Face": "hf_" + _drawn(34, string.ascii_letters),
    "GitHub": "ghp_" + _drawn(36),
    "GitHub, fine-grained": f"github_pat_{_drawn(22)}_{_drawn(59)}",
    "GitLab": "glpat-" + _drawn(20, _BASE62 + "_-", seed=1),
    "Google": "AIza" + _drawn(35, _BASE62 + "_-"),
    "Google OAuth": "ya29." + _drawn(60, _BASE62 + "_-"),
    "AWS id": "AKIA" + _drawn(16, string.ascii_uppercase + string.digits),
    "AWS secret": _drawn(40, _BASE62 + "+/", seed=1),
    "Slack": f"xoxb-{_drawn(12, string.digits)}-{_drawn(24)}",
    "npm": "npm_" + _drawn(36),
    "Replicate": "r8_" + _drawn(37),
    "NVIDIA": "nvapi-" + _drawn(64, _BASE62 + "_-"),
    "xAI": "xai-" + _drawn(80),
    "Perplexity": "pplx-" + _drawn(48),
    "Cerebras": "csk-" + _drawn(48, string.ascii_lowercase + string.digits),
    "Fireworks": "fw_" + _drawn(24),
    "Together": "tgp_v1_" + _drawn(43, _BASE62 + "_-"),
    "Mistral": _drawn(32),
    "DeepInfra": _drawn(32, seed=2),
    "Cohere": _drawn(40),
    "Azure, new": _drawn(84),
    "web token": ".".join(
        base64.urlsafe_b64encode(part).decode().rstrip("=")
        for part in (b'{"alg":"HS256","typ":"JWT"}', b'{"sub":"1234567890"}', b"\x8f" * 32)
    ),
    "base 64": base64.b64encode(random.Random(1).randbytes(32)).decode(),
}
#: Keys only where something says that they are: hexadecimal ones look like checksums.
CALLED_KEYS = {
    "Azure": _drawn(32, "0123456789abcdef"),
    "old Together": _drawn(64, "0123456789abcdef"),
    "UUID": "3f2a9c71-d2e8-4b56-9a0c-1be75d20f4c8",
    "password": "hunter2hunter2",
    **KEYS,
}
WORDS = [
    "customer_identifier",
    "customer-identifier-column",
    "PARTITION_KEY",
    "internationalization",
    "my_api_key_name",
    "HF_HUB_OFFLINE",
    "hf_hub_download_retries",
    "sk-learn-helper",
    "scikit-learn",
    "task-12345678",
    "disk-0123456789ab",
    "qwen2.5-coder-0.5b-instruct",
    "Qwen3-Coder-30B-A3B-Instruct-2507",
    "Meta-Llama-3.1-8B-Instruct-Turbo",
    "meta-llama/Llama-3.3-70B-Instruct-Turbo-Free",
    "unsloth/gemma-3-270m-it-GGUF:Q4_K_M",
    "accounts/fireworks/models/deepseek-v3p1",
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "gpt-4o-mini-2024-07-18",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    "DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M",
    "/home/me/.cache/huggingface/hub/models--unsloth--gemma-3-270m-it-GGUF/snapshots/main/model.gguf",
    "/Users/Bob/Documents2024/Reports/Q3/Final2.xlsx",
    "C:\\Users\\Bob\\AppData\\Local\\Temp\\tmp4x1z",
    "/usr/lib/python3.11/site-packages/dspy/adapters/chat_adapter.py",
    "https://api.example.com/v1/chat/completions?api-version=2024-10-21",
    "http://127.0.0.1:11434/v1",
    "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "d41d8cd98f00b204e9800998ecf8427e",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "I8091919d45421e3f53029b8660427f844fee0228",
    "123e4567-e89b-12d3-a456-426614174000",
    "2026-11-27T07:23:05.123456+00:00",
    "20261127T072305Z",
    "req_011CSHoEeqs5C35K2UUqR7Fy",
    "chatcmpl-BxYz123AbCdEfGhIjKlMnOpQrStU",
    "SQLTextWaveTo2DBinaryWave",
    "AdapterParseErrorInChatAdapterV2",
    "getElementsByTagNameNS2",
    "AmazonDeepSeekR1Config",
    "SHA256withRSA2048Signature",
    "camelCaseIdentifierWith2Digits",
    "3.14159265358979323846264338327950288",
    "6.02214076e23",
    "0xDEADBEEF",
    "-1234567890.0987654321e-12",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "AAAAAAAAAAAAAAAAAAAAAAAA",
    "1234567890123456789012345",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
]
#: Names that a variable called KEY or TOKEN may hold.
NAMES = [
    "customer_identifier",
    "customer-identifier-column",
    "user_id_2024",
    "my-local-server-no-auth",
    "/etc/ssl/key.pem",
    "~/.ssh/id_ed25519",
    "https://vault.example.com/v1/secret",
    "qwen2.5-coder-0.5b-instruct",
    "ollama",
    "EMPTY",
    "gpt-4o-mini-2024-07-18",
    "primary-key-column-1",
    "Paris",
    "internationalization",
]


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_is_masked_wherever_it_stands(key):
    for text in (f"Incorrect API key: {key}.", f"'{key}'", f"{key}\n", f'{{"a":"{key}"}}'):
        assert key not in masked(text)
        assert looks_like_a_key(text)
        assert key[-12:] not in mask_keys(text)


@pytest.mark.parametrize("word", WORDS)
def test_an_ordinary_word_is_not(word):
    text = f"The model {word} is not found, see '{word}' or <{word}>."
    assert masked(text) == text
    assert not looks_like_a_key(text)


@pytest.mark.parametrize("key", CALLED_KEYS.values(), ids=CALLED_KEYS)
def test_what_is_called_a_key_may_be_one(monkeypatch, key):
    assert may_be_key(key)
    monkeypatch.setenv("SERVICE_TOKEN", key)
    assert key not in masked(f"401: {key} is wrong")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_variable_called_key_stays(monkeypatch, name):
    assert not may_be_key(name)
    monkeypatch.setenv("PARTITION_KEY", name)
    assert masked(f"There is no column {name}.") == f"There is no column {name}."


def test_how_many_random_keys_are_found():
    for count, share in ((20, 0.88), (32, 0.95), (40, 0.98)):
        found = [is_random(_drawn(count, seed=seed)) for seed in range(1000)]
        assert sum(found) >= share * len(found), count
