"""Strategies of the fuzz tests: hostile characters, models' writing, LaTeX, damaged data."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

#: Every code point, halves of characters included.
CHARACTERS = st.characters(exclude_categories=())
ANY_TEXT = st.text(CHARACTERS, max_size=60)

#: What scanners stop at, begin with and look for.
FRAGMENTS = [
    "The answer is ", "answer: ", "**Answer:** ", "Final Answer\n", "#### ", "\\boxed{",
    "\\boxed 5", "}", "{", "[", "]", "(", ")", "(B) ", "B. Paris", "Option C", "choice ", "yes",
    "No.", "not true", "maybe", "5", "-5", "1,234.50", "$18", "50%", "1/2", "3 1/2", "1e5", "1e-9",
    "1e999", ".5", "5.", "−", "½", "٣", "１２", "x = ", "=", "is ", "because ", "or ",
    " and ", ", ",
    ". ", "\n", "\n\n", "\t", " ", "```", "```json\n", "**", "__", "*", "_", "`", "$", "$$", "\\(",
    "\\)", "\\[", "\\]", '"', "'", "“", "'s", '{"x": 1}', '{"answer": ', "[1, 2]", '["a"]', "null",
    "NaN", "Infinity", "true", "False", "[[ ## answer ## ]]\n", "[[ ## completed ## ]]",
    "Reasoning: ", "Answer: ", "Q: ", "A: ", "positive", "Paris", "London Town", "\0", "\x1b[31m",
    "\u202e", "\u200b", "\ufeff", "\ud800", "\udfff", "ﷺ", "ſ", "İ", "K", "<script>", "&amp;",
    "=cmd()", "\r", "\x85", "\u2028", "//", "/*", "lambda: 0", "(1,",
]  # fmt: skip


@st.composite
def _repeated(draw: st.DrawFn) -> str:
    """One fragment, or a few, over and over.

    What makes a scanner quadratic or nests a parser too deep.
    """
    pieces = draw(
        st.lists(
            st.one_of(st.sampled_from(FRAGMENTS), st.text(CHARACTERS, min_size=1, max_size=2)),
            min_size=1,
            max_size=3,
        )
    )
    longest = draw(st.sampled_from([300, 300, 3_000, 30_000]))
    return "".join(pieces) * draw(st.integers(1, max(1, longest // len("".join(pieces)))))


@st.composite
def _digits(draw: st.DrawFn) -> str:
    """A numeral, up to one that is far too long to read."""
    count = draw(st.sampled_from([1, 3, 20, 400, 1_999, 2_001, 4_299, 4_301, 20_000]))
    digit = draw(st.sampled_from("0123456789９٣"))
    numeral = draw(st.sampled_from(["", "-", "$", "+"])) + digit * count
    form = draw(
        st.sampled_from(
            [
                "{}",
                "{}.{}",
                "{}/{}",
                "{} 1/2",
                "{}e{}",
                "{}/1e-1999",
                "{},000",
                "0.{}",
                "{}%",
                "\\frac{{{}}}{{{}}}",
            ]
        )
    )
    return form.format(numeral, draw(st.sampled_from(["0", "1", "25", "3000", digit * count])))


@st.composite
def _grouped(draw: st.DrawFn, parts: st.SearchStrategy[str]) -> str:
    form = draw(
        st.sampled_from([
            r"\frac{{{}}}{{{}}}", r"\dfrac {} {}", r"\sqrt[{}]{{{}}}", r"\sqrt {}",
            "{}^{{{}}}", "{}^{}", "{}_{{{}}}", "{}{}",
            "{} + {}", "{} - {}",
            r"{} \cdot {}", "{}/{}", "{}, {}", "({}, {})", "[{}, {})", r"\left( {} \right)",
            r"\{{ {}, {} \}}", r"\boxed{{{}}}",
            r"\text{{{}}}", r"\text{{ {} cm}}", r"\begin{{pmatrix}} {} \\ {} \end{{pmatrix}}",
            r"\sin {}", r"\log_{} {}", "{}!",
            "x = {}", "x > {}", r"{} \le x < {}", r"\pm {}", r"{}\overline{{{}}}",
            "|{}|", r"{} \approx {}", "{} base {}",
            r"\sum_{{{}}}^{{{}}} n", r"{}^\circ", r"{} \cup {}", "${}$",
            r"\mathbf{{{}}}", r"{} \text{{ or }} {}", "({})({})",
            r"\int_0^{} {} dx",
        ])
    )  # fmt: skip
    return form.format(draw(parts), draw(parts))


#: LaTeX that is well formed, mostly.
LATEX = st.recursive(
    st.one_of(
        st.integers(-999, 9_999).map(str),
        st.sampled_from(
            [
                "x",
                "y",
                "n",
                "i",
                "e",
                r"\pi",
                r"\theta",
                "0.5",
                "0.333333",
                "1{,}000",
                r"\infty",
                r"\emptyset",
                "",
                "AB",
                "R",
                "r",
            ]
        ),
    ),
    _grouped,
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> str:
    """A text with a piece cut out, put in or doubled, up to four times."""
    text = draw(texts)
    for _ in range(draw(st.integers(0, 4))):
        at, to = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        text = draw(
            st.sampled_from([
                text[:at] + text[to:],
                text[:at] + draw(st.sampled_from(FRAGMENTS)) + text[at:],
                text[:at] + draw(st.text(CHARACTERS, max_size=3)) + text[to:],
                text[:to] + text[at:],
            ])
        )  # fmt: skip
    return text


REPLIES = st.lists(
    st.one_of(
        st.sampled_from(FRAGMENTS),
        LATEX,
        st.text(max_size=12),
        st.from_regex(r"\w{1,8}( \w{1,8}){0,4}", fullmatch=True),
    ),
    max_size=14,
).map("".join)

#: What a model may say.
TEXTS = st.one_of(
    ANY_TEXT, damaged(REPLIES), damaged(LATEX), _digits(), damaged(_digits()), _repeated()
)

#: Plain values, as JSON holds them.
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-3, 3),
        st.floats(),
        ANY_TEXT,
        st.sampled_from([10**400, -(2**63) - 1, 1e300]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(CHARACTERS, max_size=5), inner, max_size=3),
    ),
    max_leaves=6,
)


@st.composite
def nested(draw: st.DrawFn) -> Any:
    """A list or an object in a list in an object …, deeper than most readers go."""
    value = draw(st.sampled_from([0, "x", None]))
    names = draw(st.lists(st.sampled_from(["", "a"]), min_size=1, max_size=2))
    for depth in range(draw(st.sampled_from([3, 99, 102, 400]))):
        name = names[depth % len(names)]
        value = {name: value} if name else [value]
    return value


@st.composite
def damaged_json(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with up to three parts replaced by others, or left out."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        inner, depth = value, draw(st.integers(0, 5))
        while isinstance(inner, (dict, list)) and inner:
            at = (
                draw(st.sampled_from(sorted(inner)))
                if isinstance(inner, dict)
                else draw(st.integers(0, len(inner) - 1))
            )
            if depth == 0 or not isinstance(inner[at], (dict, list)):
                if draw(st.integers(0, 3)):
                    inner[at] = draw(st.one_of(JSON, st.text(max_size=9), st.integers(-1, 3)))
                else:
                    del inner[at]
                break
            inner, depth = inner[at], depth - 1
    return value
