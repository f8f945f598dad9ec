r"""One spelling for what looks alike: unicode signs, LaTeX spacing, shorthand fractions, math and bold wrappers."""

import re
from fractions import Fraction

_CHARACTERS = str.maketrans(
    {"−": "-", "–": "-", "—": "-", "×": "\\times ", "⋅": "\\cdot ", "·": "\\cdot ", "∙": "\\cdot ", "÷": "\\div "}
    | {"⁄": "/", "∕": "/", "，": ",", "．": ".", "（": "(", "）": ")", "＝": "=", "\u200b": "", "\ufeff": ""}
    | {"π": "\\pi ", "∞": "\\infty ", "≠": "\\neq ", "±": "\\pm ", "≤": "\\le ", "≥": "\\ge ", "∪": "\\cup ", "∅": "\\emptyset "}
    | {"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "°": " degrees "}
    | dict(zip("０１２３４５６７８９", "0123456789", strict=True))
)  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_REWRITES = [
    (re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+"), lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}"),
    (re.compile(r"√\s*(\d+|[A-Za-z])"), r"\\sqrt{\1}"),
    (re.compile(r"√\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"\\(?:left|right|displaystyle)(?![A-Za-z])"), ""),
    (re.compile(r"(?<=\d)(?:\\[,! ]|\{,\}|~)(?=\d{3}(?!\d))"), ","),  # 1\,234 and 1{,}234 group digits
    (re.compile(r"(?<=\d)\{,\}(?=\d)"), ","),
    (re.compile(r"(?<!\w)\*\*([A-Za-z][^*\n]*)\*\*"), r"\1"),  # **Answer:** 14
    (re.compile(r"(?<!\\)\\[,;:! ]|~|\\q?quad(?![A-Za-z])"), " "),  # but not the row end before a space
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(frac|sqrt)\s*(\d)"), r"\\\1{\2}"),
    (re.compile(r"(\\frac\s*\{\d+\})\s*(\d)"), r"\1{\2}"),
    (re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})"), " degrees "),
    (re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf)|mbox|operatorname)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\([%$#&_])"), r"\1"),
    (re.compile(r"\\(?:varnothing|empty)(?![A-Za-z])"), r"\\emptyset "),
    (re.compile(r"(?<=\d),-+(?!\d)"), ""),  # Rp15.000,-
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"\bminus (?=\d)", re.IGNORECASE), "-"),
    (re.compile(r"(?<=\d) x (?=\d)"), r" \\times "),
    (re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"\\(?:approx|simeq)(?![A-Za-z])|≈"), "="),
    (re.compile(r"\b(?:all real numbers|semua bilangan real)\b", re.IGNORECASE), r"\\mathbb{R}"),
    (re.compile(r"\\+\s*$"), ""),
    (re.compile(r"\s+"), " "),
    (re.compile(r"(?<![\w.,])\d{1,3}(?: \d{3})+(?![\d/])"), lambda m: m[0].replace(" ", "")),
    (
        re.compile(r"(\d{0,50})\.(\d{0,50})\\(?:overline|bar)\s*\{?(\d{1,50})\}?"),
        lambda m: _repeating(*m.groups()),
    ),
]


def _repeating(whole: str, fixed: str, period: str) -> str:
    r"""`0.1\overline{6}` as a fraction."""
    shift = 10 ** len(fixed)
    value = Fraction(int(whole or 0)) + Fraction(int(fixed or 0), shift)
    value += Fraction(int(period), (10 ** len(period) - 1) * shift)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


_WRAPPINGS = [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`")]


def normalise(text: str) -> str:
    """A text in one spelling; the same value for every way to write it that the tables above know."""
    text = text.translate(_CHARACTERS)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    while True:
        before, text = text, text.strip().rstrip(".,;: ").removeprefix("=")
        for opening, closing in _WRAPPINGS:
            inner = text[len(opening) : len(text) - len(closing)]
            if text.startswith(opening) and text.endswith(closing) and inner.strip() and closing not in inner:
                text = inner
        if text == before:
            return text
