r"""One spelling for what looks alike: unicode signs, LaTeX spacing, shorthand fractions, words for numbers and operations.

Every rule is one line of a table, and each table is one idea. The order of the tables matters: characters first, then
LaTeX, then plain text, then words.
"""

import re
from fractions import Fraction

_CHARACTERS = str.maketrans(
    # Signs of arithmetic.
    {"−": "-", "–": "-", "—": "-", "×": "\\times ", "⋅": "\\cdot ", "·": "\\cdot ", "∙": "\\cdot ", "÷": "\\div "}
    # Punctuation of Chinese texts and word processors; every ideographic form has its plain one.
    | {"⁄": "/", "∕": "/", "，": ",", "、": ", ", "．": ".", "。": ".", "：": ":", "；": ";", "（": "(", "）": ")", "＝": "=", "％": "%", "！": "!"}
    # Invisible characters, other spaces, curly quotes.
    | {"\u200b": "", "\ufeff": "", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "“": '"', "”": '"', "’": "'", "＄": "$"}
    # Letters and relations that LaTeX has a command for.
    | {"π": "\\pi ", "θ": "\\theta ", "Ω": "\\Omega ", "∞": "\\infty ", "≠": "\\neq ", "±": "\\pm ", "≤": "\\le ", "≥": "\\ge "}
    | {"∪": "\\cup ", "∈": "\\in ", "ℝ": "\\mathbb{R}", "∅": "\\emptyset ", "…": "\\ldots ", "≡": "\\equiv ", "≈": "\\approx "}
    # The space makes "2½" a mixed number.
    | {"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "⅕": " 1/5", "⅛": " 1/8", "°": " degrees ", "º": " degrees "}
    | {"✅": "", "✓": "", "✔": ""}
    | dict(zip("０１２３４５６７８９", "0123456789", strict=True))
)  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
FUNCTIONS = "sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|ln|log"
_GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|sigma|omega|phi|pi"

# What LaTeX and typesetting add to a formula without changing it.
_LATEX = [
    # x² and √2, which nobody can parse.
    (r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+", lambda m: f"^{{{m[0].translate(_SUPERSCRIPTS)}}}"),
    (r"√\s*(\d+|[A-Za-z])", r"\\sqrt{\1}"),
    (r"√\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    # Sizes of brackets and of type.
    (r"\\(?:left|right|displaystyle|textstyle|bigl?|bigr|Bigl?|Bigr)(?![A-Za-z])", ""),
    (r"\\!\s*|\\(?:hspace|vspace)\{[^{}]*\}", ""),  # 10,\!080
    # What groups digits becomes a comma: 1\,234 and 1{,}234, 1_000_000.
    (r"(?<=\d)(?:\\[, ;:]| ?\{ ?, ?\} ?|~|_|')(?=\d{3}(?!\d))", ","),
    # A decimal comma, 2{,}5, keeps its comma.
    (r"(?<=\d)\{,\}(?=\d)", ","),
    (r"(?<![\w*)}])(\*{1,3}|__)(?=\S)([^*_\n]+)(?<=\S)\1(?![\w*(])", r"\2"),  # **Answer:** 14
    (r"(?<!\\)\\[,;: ]|~|\\q?quad(?![A-Za-z])", " "),  # but not the row end before a space
    # Fractions and roots, also without braces: \frac12, \frac{a}3, \sqrt[3]5.
    (r"\\(?:[dtcx]frac|nicefrac|sfrac)(?![A-Za-z])", r"\\frac"),
    (r"\\frac\s*(\d)(?![\d])", r"\\frac{\1}"),
    (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
    (r"(\\frac\s*\{[^{}]*\})\s*(\d|[A-Za-z])", r"\1{\2}"),
    (r"\\sqrt\s*(\[[^\[\]]*\])?\s*(\d|[A-Za-z])", lambda m: f"\\sqrt{m[1] or ''}{{{m[2]}}}"),
    (
        r"\^\s*(?:\\circ|\{\s*\\circ\s*\}|\\degree)|\\degree(?![A-Za-z])|(?<=\d)\^\{?o\}?(?![A-Za-z])",
        " degrees ",
    ),
    (r"\\(?:math(?:rm|bf|it|sf)|operatorname)\s*\{\s*([A-Za-z])\s*\}", r"\1"),  # an upright e
    (
        r"\\(?:text(?:bf|it|rm|normal|sf)?|math(?:rm|bf|it|sf)|mbox|operatorname|underline|emph|hbox)\s*\{([^{}]*)\}",
        r" \1 ",
    ),
    # {\bf 42}, as plain TeX has it.
    (r"\{\\(?:bf|rm|it|em)(?![A-Za-z])\s*([^{}]*)\}|\\(?:bf|rm|it)(?![A-Za-z])", lambda m: m[1] or ""),
    # An escaped dollar is money.
    (r"\\\$|(?<![A-Z])US\$", " USD "),
    (r"\\([%#&_])", r"\1"),
    # Several names of one sign.
    (r"\\(?:varnothing|empty)(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset "),
    (r"\\(?:backslash|smallsetminus)(?![A-Za-z])", r"\\setminus "),
    (r"\\(?:dots|cdots|dotsc|dotsb)(?![A-Za-z])|(?<=[,+]) ?\.\.\.", r"\\ldots "),
    (r"\\langle(?![A-Za-z])", "("),
    (r"\\rangle(?![A-Za-z])", ")"),
    (r"\\(?:approxeq|simeq)(?![A-Za-z])", r"\\approx "),
    (r"\\lg(?![A-Za-z])", r"\\log_{10}"),
    (
        r"(?:\{\})?_\{?(\d+)\}?C_\{?(\d+)\}?|(?<![A-Za-z\\])C\((\d+), ?(\d+)\)",
        lambda m: f"\\binom{{{m[1] or m[3]}}}{{{m[2] or m[4]}}}",
    ),
    (r"(?<![A-Za-z\\])C_\{?(\d+)\}?\^\{?(\d+)\}?", r"\\binom{\1}{\2}"),
    # A line end that was cut off.
    (r"\\+\s*$", ""),
]
# Mathematics typed on a keyboard.
_PLAIN = [
    # Powers of Python, and exponents without braces.
    (r"(?<=[\w)}])\s*\*\*\s*(?=[\w({\\-])", "^"),
    (r"\^\s*(-\s*\d+)", r"^{\1}"),
    (r"(?<=\d)\.(?=\s*/)", ""),  # -1./3
    # 3x10^8 and 2 x 3.
    (r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r" \\times "),
    (r"(?<=\d) x (?=\d)", r" \\times "),
    (r"(?<=\d),-+(?!\d)", ""),  # Rp15.000,-
    # Functions without their backslash.
    (r"(?<![\w\\])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"(?<![A-Za-z\\])sqrt\s*(?=\{)", r"\\sqrt"),
    (r"(?<![A-Za-z\\])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"(?<![A-Za-z\\])sqrt\s*(\d+)", r"\\sqrt{\1}"),
    (r"\\?(?<![A-Za-z])exp\s*\(([^()]*)\)", r"e^{\1}"),
    (rf"(?<![A-Za-z\\])({FUNCTIONS})(?=\s*[({{\d]| [a-z]\b)", r"\\\1 "),
    # An angle in degrees under a function is written in radians.
    (rf"(\\(?:{FUNCTIONS}) *)[({{]? ?(\d+(?:\.\d+)?) degrees ?[)}}]?", r"\1{(\2\\pi/180)}"),
    # Intervals as some countries write them: ]0,1] and [0,1[.
    (r"(?<![\w)}\]])\]([^\[\]()]*[,;][^\[\]()]*)([\[\]])", lambda m: f"({m[1]}{')' if m[2] == '[' else ']'}"),
    (r"\[([^\[\]()]*[,;][^\[\]()]*)\[", r"[\1)"),
    (rf"(?<![A-Za-z\\])({_GREEK})(?![A-Za-z])", r"\\\1 "),
    # Things that have a name and a sign.
    (r"(?<![A-Za-z\\])(?:infinity|oo|tak hingga)(?![A-Za-z])", r"\\infty "),
    (r"\b(?:all real numbers|semua bilangan real)\b", r"\\mathbb{R}"),
    (r"\b(?:the empty set|empty set|himpunan kosong)\b", r"\\emptyset "),
]
# Repeating decimals, with a bar, dots or parentheses over the period.
_REPEATING = [
    (r"(\d{0,50})\.(\d{0,50})\\(?:overline|bar)\s*\{?(\d{1,50})\}?", lambda m: _fraction(*m.groups())),
    (r"(\d{0,50})\.(\d{0,50})\\dot\s*\{?(\d)\}?(?:(\d{0,50})\\dot\s*\{?(\d)\}?)?", lambda m: _fraction(m[1], m[2], "".join(filter(None, m.groups()[2:])))),
    (r"(\d{1,50})\.(\d{0,50})\((\d{1,50})\)", lambda m: _fraction(*m.groups())),
]  # fmt: skip
_NUMBER_WORD = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|satu|dua|tiga|empat|lima|enam|tujuh|delapan|sembilan|sepuluh)"
_OPERATIONS = {
    "plus": "+", "ditambah": "+", "tambah": "+", "minus": "-", "dikurangi": "-", "times": "*", "dikali": "*", "kali": "*",
    "divided by": "/", "over": "/", "dibagi": "/", "per": "/", "pangkat": "^", "to the power of": "^",
}  # fmt: skip
# Words that are part of a number: what they say is said with signs from here on.
_WORDS = [
    # "negative 3"; words alone are read by `read_words`.
    (r"\b(?:negative|minus|negatif) (?=\d)", "-"),
    (rf"(?<=\d) ({'|'.join(_OPERATIONS)}) (-?\d|{_NUMBER_WORD}\b)", lambda m: f"{_OPERATIONS[m[1].lower()]}{read_words(m[2]) or m[2]}"),
    (r"(?<=[\d)]) ?(?:squared|kuadrat)\b", "^2"),
    (r"(?<=[\d)]) ?cubed\b", "^3"),
    (r"(?<=[\d)]) factorial\b", "!"),
    (r"(?<=\d) and (?:a|one) half\b", " 1/2"),
    # 7th is 7.
    (r"(?<=\d) ?\^? ?\{? ?(?:st|nd|rd|th)\b ?\}?", ""),
    (r"(\d[\d.,]*)( degrees)? (?:below zero|di bawah nol)\b", r"-\1\2"),
]  # fmt: skip
_SPACES = [
    (r"\s+", " "),
    (r"(?<![\w.,])\d{1,3}(?: \d{3})+(?![\d/])", lambda m: m[0].replace(" ", "")),
]
_RULES = [
    (re.compile(pattern, re.IGNORECASE if table is _WORDS else 0), replacement)
    for table in (_LATEX, _PLAIN, _REPEATING, _SPACES, _WORDS)
    for pattern, replacement in table
]
_WRAPPINGS = [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("`", "`"), ('"', '"')]


_AMOUNT = re.compile(r"\s?-?[.\d]")
_MATH_DELIMITER = re.compile(r"(?<!\\)\$\$?")
_NO_FORMULA = re.compile(r"[=+*/(<>,-]\s*$|(?<![A-Za-z\\{])(?!(?:sin|cos|tan|log|pi|and|or)\b)[A-Za-z]{3,}")


def mark_currency(text: str) -> str:
    """A text whose dollars of money read " USD ", so that every `$` left is the delimiter of a formula.

    "5 * $9 = $45" has two amounts and no formula: what stands between two dollars is one only if it neither ends in
    the middle (an operator, a comma, a single space) nor contains a word.
    """
    # Two marks are looked at together; whichever is money is replaced and the next pair begins behind it.
    marks, parts, start = list(_MATH_DELIMITER.finditer(text)), [], 0
    index = 0
    while index < len(marks):
        mark, after = marks[index], marks[index + 1] if index + 1 < len(marks) else None
        inner = text[mark.end() : after.start()] if after else ""
        half_open = inner[-1:].isspace() and not inner[:1].isspace()
        if (
            inner.strip()
            and not half_open
            and not _NO_FORMULA.search(re.sub(r"\\text\s*\{[^{}]*\}", "T", inner))
        ):
            index += 2  # a formula: both marks stay
            continue
        if _AMOUNT.match(text, mark.end()):
            parts += [text[start : mark.start()], " USD "]
            start = mark.end()
        index += 1
    return "".join([*parts, text[start:]])


def normalise(text: str) -> str:
    """A text in one spelling; the same value for every way to write it that the tables above know."""
    # Stage 1: money and characters.
    text = mark_currency(text).translate(_CHARACTERS)
    # Stage 2: the tables, in their order.
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    # Stage 3: what is wrapped around the whole text, layer by layer.
    while True:
        before, text = text, text.strip().rstrip(".,;: ").removeprefix("=").removeprefix("\\approx")
        for opening, closing in _WRAPPINGS:
            inner = text[len(opening) : len(text) - len(closing)]
            if text.startswith(opening) and text.endswith(closing) and inner.strip() and closing not in inner:
                text = inner
        if text == before:
            return text


def _fraction(whole: str, fixed: str, period: str) -> str:
    r"""`0.1\overline{6}` as a fraction."""
    shift = 10 ** len(fixed)
    value = Fraction(int(whole or 0)) + Fraction(int(fixed or 0), shift)
    value += Fraction(int(period), (10 ** len(period) - 1) * shift)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


# Every word with its value, in both languages.
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_DIGITS = "nol satu dua tiga empat lima enam tujuh delapan sembilan sepuluh sebelas"
_VALUES = (
    {word: value for value, word in enumerate(_UNITS.split())}
    | {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
    | {word: value for value, word in enumerate(_DIGITS.split())}
)
_THOUSANDS = {"thousand": 1000, "ribu": 1000, "seribu": 1000, "million": 10**6, "juta": 10**6}


def read_words(text: str) -> int | None:
    """The whole number that words spell, as "forty-two" or "empat puluh dua"; None if a word is anything else."""
    total = group = 0  # finished thousands, and what stands below them
    words = text.casefold().replace("-", " ").split()
    if words and words[0] in ("minus", "negative", "negatif"):
        value = read_words(" ".join(words[1:]))
        return None if value is None else -value
    for index, word in enumerate(words):
        digit = group % 10
        # "forty two" adds, "five six" does not: a smaller number may follow only where its digits are 0.
        if word in _VALUES and group % (10 if _VALUES[word] < 10 else 100) == 0:
            group += _VALUES[word]
        elif word == "belas" and digit:
            group += 10
        elif word == "puluh" and digit:
            group += 9 * digit
        elif word in ("hundred", "ratus", "seratus"):
            # The digit before "hundred" becomes so many hundreds.
            group += 99 * digit if digit else 100
        elif word in _THOUSANDS:
            total, group = total + (group or 1) * _THOUSANDS[word], 0
        elif word != "and" or not 0 < index < len(words) - 1:
            return None
    return total + group if words else None
