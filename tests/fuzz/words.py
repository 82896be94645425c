"""Words of the command line: usual and odd numbers, names, files, banks and options."""

from __future__ import annotations

from hypothesis import strategies as st

from .strategies import CHARACTERS

PASSWORD = "hunter2-fuzz"

ODD_NUMBERS = st.one_of(
    st.sampled_from(
        [
            "0",
            "-1",
            "nan",
            "inf",
            "-inf",
            "1e309",
            "-0",
            "1e-320",
            "10**3",
            "1_0",
            " 2",
            "²",
            "٣",
            "0x2",
            "",
            "x",
            "0.5",
            "1e2",
        ]
    ),
    st.sampled_from(
        [str(2**31), str(2**32), str(2**63), str(10**30), "9" * 5_000, "-" + "9" * 400]
    ),
    st.integers(-5, 5).map(str),
    st.floats(-2, 2).map(str),
)
ODD_WORDS = st.one_of(
    st.sampled_from(
        ["z", "", ",", "a,a", "--", "-", "a,z", "latest", "\n", "\x1b[31m", "../x", "'"]
    ),
    st.text(
        CHARACTERS.filter(lambda character: character != "\0"), max_size=6
    ),  # no process can be given a NUL
)
ODD_FILES = st.one_of(
    st.sampled_from(
        [
            "bare.jsonl",
            "text.sqlite",
            "none.sqlite",
            "folder",
            "folder/",
            "",
            ".",
            "/",
            "no/where.jsonl",
            "one.toml",
        ]
    ),
    st.sampled_from(
        [
            "x" * 300,
            "x" * 5_000 + "/b.sqlite",
            "x.jsonl.gz",
            ".jsonl",
            "://",
            "sqlite://",
            "sqlite:///",
            "nothing://x",
        ]
    ),
    ODD_WORDS,
)
ODD_BANKS = st.one_of(
    ODD_FILES,
    st.sampled_from(
        [
            f"postgresql://u:{PASSWORD}@127.0.0.1:9/none",
            f"mysql://u:{PASSWORD}@h/d",
            f"postgresql://u:{PASSWORD}@[/x",
        ]
    ),
)


def mostly(usual, odd):
    return st.integers(0, 5).flatmap(lambda luck: st.sampled_from(usual) if luck else odd)


COUNTS = mostly(["1", "2", "3"], ODD_NUMBERS)
SIZES = st.one_of(
    st.sampled_from(["1-", "-", "4", "1-9999999999999", "1--2", "a-b"]),
    st.builds("{}-{}".format, COUNTS, COUNTS),
)
SHARED = {
    "--members": mostly(["a,b", "a,b,c", "c,a", "b"], ODD_WORDS),
    "--dataset": mostly(["default"], ODD_WORDS),
    "--program": mostly(["imported", "latest", "im"], ODD_WORDS),
    "--seed": mostly(["1", "7"], ODD_NUMBERS),
    "--threshold": mostly(["1", "0.5"], ODD_NUMBERS),
    "--json": None,
}
SPLIT = {
    "--split-field": mostly(["split"], ODD_WORDS),
    "--train": mostly(["train", "test"], ODD_WORDS),
    "--test": mostly(["test", "train"], ODD_WORDS),
    "--context": mostly(["task"], ODD_WORDS),
}
RULES = mostly(
    [
        "consistency",
        "pooled",
        "probability",
        "calibrated",
        "self_consistency",
        "self_consistency:a",
        "all",
    ],
    ODD_WORDS,
)
HTML = st.sampled_from(["page.html", "folder", "no/where.html", "x" * 300, ""])
STORAGES = st.sampled_from(
    [
        "nowhere://x",
        "",
        "sqlite:///no/where/study.db",
        "text.sqlite",
        "://",
        "sqlite://",
        "redis://",
    ]
)
