"""Find API keys in settings and texts, and mask them: what must not be shown.

`text.py` holds the other half: what may be shown.
"""

from __future__ import annotations

import base64
import os
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import dspy

from .keys import PLACEHOLDERS, mask_keys, may_be_key

_SECRET_NAME = re.compile(
    r"api[_-]?key|secret|passw|authorization|credential|cookie|headers"
    r"|(private|access|subscription)[_-]?key"
    r"|(^|[_-])(access|auth|session|refresh|bearer|id|ad|hf)[_-]?token$|^(key|token|auth|pass)$",
    re.IGNORECASE,
)
_SECRET_HEADER = re.compile(
    r"key|token|auth|secret|pass|cookie|credential|signature", re.IGNORECASE
)
_SECRET_VARIABLE = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET)$|PASSWORD$", re.IGNORECASE)
#: What is said to be a key, wherever it comes from: the words before it, then the key.
_SAID = (
    r"(?:authorization|api[_-]?key|(?:access|auth)[_-]?token|secret|password)"
    r"\\?['\"]?\s*[=:]\s*\\?['\"]?(?:(?:Bearer|Basic)\s+)?|\bBearer\s+"
)
_REST = r"[^\s'\",;&@\\]+"
_SAID_KEY = re.compile(rf"({_SAID}){_REST}", re.IGNORECASE)
#: Keys in the addresses among an LM's settings. Fingerprints depend on what is masked there.
_KEY_IN_ADDRESS = re.compile(
    rf"({_SAID}|\bsk-|\b(?:gsk|hf)_(?=\w{{16}})|\bAIza(?=\S{{16}})){_REST}", re.IGNORECASE
)
_PASSWORD_IN_URL = re.compile(r"(\w://[^/\s:@'\"]{0,200}:)[^/\s@'\"]{1,500}(?=@)")
# A part of a key: letters and digits, another sign with the backslashes before it, or backslashes.
_PART = re.compile(r"([0-9A-Za-z]+)|\\*([^0-9A-Za-z\\])|\\+")
_BACKSLASH = r"(?i:\\|u005c|%(?:25){0,9}5c|&(?:amp;){0,9}#(?:0{0,9}92|x0{0,9}5c);)"
_NAMED = {"&": "amp|", "<": "lt|", ">": "gt|", '"': "quot|", "'": "apos|"}
_SHORT = {"\n": "n", "\r": "r", "\t": "t"}
#: A member's key that nobody expects in an answer.
_CHOSEN_KEY = re.compile(r"(?=.*\d)(?=.*[A-Za-z]).{12,}", re.DOTALL)
_SCHEME = re.compile(r"^(?:Bearer|Basic|Token)\s+", re.IGNORECASE)


@lru_cache(maxsize=4096)  # called for every setting at every draw
def is_secret(name: str) -> bool:
    """Whether a setting of this name may hold a key.

    >>> is_secret("api_key"), is_secret("max_tokens")
    (True, False)
    """
    return _SECRET_NAME.search(name) is not None


def looks_like_a_key(text: str) -> bool:
    """Whether a text holds a key, or an address with a password or a key in it."""
    if "://" in text and (_PASSWORD_IN_URL.search(text) or next(_keys_in_address(text), None)):
        return True
    return mask_keys(text) != text


def masked(text: str, lm: dspy.BaseLM | None = None) -> str:
    """Mask keys in a message: the LM's, those in environment variables, and what looks like one.

    For messages, logs and the causes of abstentions. An answer is never masked.

    >>> masked("401: Incorrect API key provided: sk-abcdef123456")
    '401: Incorrect API key provided: sk-***'
    """
    own = [] if lm is None else keys_of(lm)
    own = [key for key in own if len(key) > 3 and key.lower() not in PLACEHOLDERS]
    text = without(text, [*own, *keys_in_environment()])
    return mask_keys(_PASSWORD_IN_URL.sub(r"\1***", _SAID_KEY.sub(r"\1***", text)))


def echoes_of(lm: dspy.BaseLM) -> list[str]:
    """Return the keys to look for in a model's reply, in case its server echoes them.

    A placeholder ("ollama", "EMPTY") may well be an answer. So a short key, or one without digits,
    only counts if it looks like one. A hosted model may have its key from its provider's variable.
    """
    usual = os.environ.get(f"{lm.model.partition('/')[0].upper()}_API_KEY", "")
    own = [key for key in keys_of(lm) if _CHOSEN_KEY.fullmatch(key) or may_be_key(key)]
    return [*own, usual] if may_be_key(usual) and usual not in own else own


def shown(value: Any) -> Any:
    """Return a JSON value without secret settings, at any depth, and with its addresses masked.

    >>> shown({"top_p": 1, "api_key": "sk-1", "api_base": "http://me:secret@host"})
    {'top_p': 1, 'api_base': 'http://me:***@host'}
    """
    if isinstance(value, Mapping):
        return {key: shown(inner) for key, inner in value.items() if not is_secret(str(key))}
    if isinstance(value, (list, tuple)):
        return [shown(inner) for inner in value]
    return masked_address(value) if isinstance(value, str) else value


def masked_address(text: str) -> str:
    """Mask the passwords and keys in a text's URLs."""
    if "://" not in text:
        return text
    return _PASSWORD_IN_URL.sub(r"\1***", _KEY_IN_ADDRESS.sub(r"\1***", text))


def shows_no_key(error: BaseException, lm: dspy.BaseLM) -> bool:
    """Whether the error's traceback, including its causes, may be printed."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return masked(text, lm) == text


def keys_of(lm: dspy.BaseLM) -> list[str]:
    """Return the keys in an LM's settings: under a secret's name, in headers, in addresses."""
    return list(dict.fromkeys(_keys_in(lm.kwargs)))


def _keys_in(value: Any, name: str = "", *, header: bool = False) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _keys_in(inner, str(key), header=header or "headers" in name.lower())
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _keys_in(inner, name, header=header)
    elif isinstance(value, str) and value:
        if _SECRET_HEADER.search(name) if header else is_secret(name):
            yield _SCHEME.sub("", value).strip()
        elif "://" in value:
            yield from _keys_in_address(value)


def _keys_in_address(address: str) -> Iterator[str]:
    try:
        parts = urlsplit(address)
    except ValueError:  # not an address; the client will say so
        return
    yield from (value for key, value in parse_qsl(parts.query) if is_secret(key))
    who, at, _ = parts.netloc.rpartition("@")
    user, colon, password = who.partition(":")
    if at and colon:
        yield from (
            unquote(password),
            base64.b64encode(unquote(f"{user}:{password}").encode()).decode(),
        )


def keys_in_environment() -> Iterator[str]:
    """Yield the keys that environment variables hold."""
    values = (os.environ.get(name, "") for name in list(os.environ) if _is_secret_variable(name))
    return filter(may_be_key, values)


@lru_cache(maxsize=4096)
def _is_secret_variable(name: str) -> bool:
    return _SECRET_VARIABLE.search(name) is not None


def without(text: str, keys: Iterable[str], mask: str = "***") -> str:
    """Mask each of the keys in a text, also where it is quoted for a URL, JSON, Python or HTML."""
    # Longest first: a key that begins another must not leave the other's rest.
    for key in sorted(filter(None, keys), key=len, reverse=True):
        if _longest_word(key) in text:
            text = _written(key).sub(mask, text)
    return text


@lru_cache(maxsize=1024)
def _longest_word(key: str) -> str:
    """Return the longest run of letters and digits in a key, which no quoting changes."""
    return max((word for word, _ in _PART.findall(key)), key=len, default="")


@lru_cache(maxsize=1024)
def _written(key: str) -> re.Pattern[str]:
    """Return a pattern of all the ways to write a key."""
    return re.compile(
        "".join(
            word or (_sign(sign) if sign else f"{_BACKSLASH}{{1,31}}")
            for word, sign in _PART.findall(key)
        )
    )


def _sign(sign: str) -> str:
    r"""Return a pattern of one sign: as it is, or as `\/`, `%2f`, `\u002f`, `&lt;`, `&#47;`.

    Signs that are quoted several times over match too.
    """
    forms = [_SHORT[sign]] if sign in _SHORT else []
    for char in " +" if sign == " " else sign:  # in a URL, + is a space
        units = char.encode("utf-16-be", "surrogatepass").hex()
        decimal, hexadecimal = f"#0{{0,9}}{ord(char)}", f"#x0{{0,9}}{ord(char):x}"
        forms += [
            "".join(f"%(?:25){{0,9}}{byte:02x}" for byte in char.encode(errors="surrogatepass")),
            f"{_BACKSLASH}{{0,31}}".join(
                f"u{units[at : at + 4]}" for at in range(0, len(units), 4)
            ),
            f"&(?:amp;){{0,9}}(?:{_NAMED.get(char, '')}{decimal}|{hexadecimal});",
            re.escape(char),
        ]
    # One way to read the backslashes before it, or near misses of a key would take forever.
    return f"{_BACKSLASH}{{0,31}}(?i:{'|'.join(forms)})"
