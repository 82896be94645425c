"""Tell API keys from other words: by the prefixes of their makers, or by how random they look.

Two questions, because the cost of a mistake differs:

- `mask_keys(text)` finds keys in any text. A word counts if it has a known prefix, follows
  `Bearer`, or is random: at least 20 letters and digits of all three classes (a-z, A-Z, 0-9), at
  least 3.5 bits of Shannon entropy a character, and at 28 of 100 steps within its parts a change
  of class other than from a capital to the small letter after it. Of random keys, that finds 92 %
  of 20 characters, 97 % of 32 and 99 % of 40. Names, paths, model tags, dates, UUIDs and
  hexadecimal hashes are not random.
- `may_be_key(value)` judges a value that is called a key, such as that of `SERVICE_TOKEN`. There
  hexadecimal keys and passwords with digits count too; `customer_identifier` does not.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter

#: Keys by their makers' prefixes. Searches for a digit are bounded, or a text of prefixes alone
#: would take forever.
_PREFIXED = re.compile(
    r"""
    (?P<label>\b(?:
      sk-(?=[\w-]{0,100}\d)(?=[\w-]{8})     # OpenAI, Anthropic, OpenRouter, …
    | (?:gsk|hf|gh[opsur]|npm|r8|fw|sk_live|sk_test)_(?=[A-Za-z0-9]{16})
    | (?:csk|xai|pplx|nvapi|glpat|pypi|xox[abeoprs])-(?=[\w-]{0,100}\d)(?=[\w-]{16})
    | (?:github_pat|tgp_v1|lsv2_[ps]t)_(?=\w{0,100}\d)(?=\w{20})
    | AIza(?=[\w-]{16}) | ya29\.(?=[\w-]{16})
    | Bearer\s+(?=[\w.~+/=-]{0,100}\d)(?=[\w.~+/=-]{8})
    ))[\w.~+/=-]+
    | \bA[KS]IA[0-9A-Z]{16}\b                          # AWS
    | \beyJ[\w-]{8,500}\.eyJ[\w-]{8,4000}\.[\w-]{8,}    # a JSON Web Token
    """,
    re.VERBOSE,
)
#: A word that is long enough to be random, without the marks of what is random but not secret:
#: checksums, and the identifiers of requests, which a server's operator asks for.
_WORD = re.compile(
    r"(?<![A-Za-z0-9+/_=-])(?!sha\d+-|(?:req|chatcmpl|cmpl|msg|resp|run|file|batch)[-_])"
    r"[A-Za-z0-9+/_=-]{20,}"
)
_HASH = re.compile(r"I?[0-9a-f]{8,}")
_PART = re.compile(r"[A-Za-z0-9]+")
_CLASSES = (re.compile("[a-z]"), re.compile("[A-Z]"), re.compile("[0-9]"))
_LEAST_BITS = 3.5
_LEAST_CHANGE = 0.28
#: Letters and digits in a row that a random word has somewhere.
_LONGEST_PART = 10
_SHORTEST_KEY = 12
#: What users write where a server checks no key.
PLACEHOLDERS = frozenset({"", "none", "empty", "ollama", "lm-studio", "dummy", "not-needed"})
#: Changes between letters and digits in a value that is called a key.
_LEAST_TURNS = 3


def mask_keys(text: str) -> str:
    """Mask the keys in a text; the prefix of one stays, to tell whose it is.

    >>> mask_keys("Incorrect API key sk-abcdef123456 for the model qwen2.5-coder-7b-instruct")
    'Incorrect API key sk-*** for the model qwen2.5-coder-7b-instruct'
    """
    text = _PREFIXED.sub(lambda key: f"{key['label'] or ''}***", text)
    return _WORD.sub(lambda word: "***" if is_random(word[0]) else word[0], text)


def may_be_key(value: str) -> bool:
    """Return whether a value that is called a key may be one, rather than a name.

    >>> may_be_key("0f3a9c71d2e84b56"), may_be_key("customer_identifier"), may_be_key("/etc/key")
    (True, False, False)
    """
    value = value.strip()
    if mask_keys(value) != value:
        return True
    if len(value) < _SHORTEST_KEY or value.startswith(("/", "~", "./")) or "://" in value:
        return False
    return sum(map(_turns, _PART.findall(value))) >= _LEAST_TURNS


def is_random(word: str) -> bool:
    """Return whether letters, digits and signs look drawn at random, as in a key of base 62 or 64.

    >>> is_random("q9Xw2LmZ7vKe4TbR8sYd"), is_random("Meta-Llama-3-1-8B-Instruct-Turbo")
    (True, False)
    """
    parts = [part for part in _PART.findall(word) if not _HASH.fullmatch(part)]
    if max(map(len, parts), default=0) < _LONGEST_PART:
        return False
    rest = "".join(parts)
    if not all(kind.search(rest) for kind in _CLASSES) or entropy(word) < _LEAST_BITS:
        return False
    steps = sum(len(part) - 1 for part in parts)
    return sum(map(_changes, parts)) >= _LEAST_CHANGE * steps


def entropy(word: str) -> float:
    """Return the Shannon entropy of a word's characters, in bits a character.

    >>> entropy("aaaa"), entropy("abcd")
    (0.0, 2.0)
    """
    counts = Counter(word).values()
    return sum(count / len(word) * math.log2(len(word) / count) for count in counts)


def _changes(part: str) -> int:
    classes = ["0" if char.isdigit() else "A" if char.isupper() else "a" for char in part]
    steps = itertools.pairwise(classes)
    return sum(one != other and (one, other) != ("A", "a") for one, other in steps)


def _turns(part: str) -> int:
    return sum(one.isdigit() != other.isdigit() for one, other in itertools.pairwise(part))
