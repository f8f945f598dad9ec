r"""Units of measurement in both languages: `m/s^2`, `meters per second squared` and `meter per detik kuadrat` are one.

A unit is read into its dimensions, {"m": 1, "s": -2}. Units are compared, not converted: 5 m is not 500 cm. A word that
no table knows is a thing that is counted, such as eggs.
"""

import re

# Every name of a unit -> its symbol. Singular and lower case, unless case matters.
# The first word of a line is the symbol that stands for all of them.
_NAMES = {
    # Lengths and weights.
    "m": "meter metre", "cm": "centimeter centimetre sentimeter", "mm": "millimeter millimetre milimeter", "km": "kilometer kilometre kms",
    "in": "inch inches inci", "ft": "foot feet kaki", "yd": "yard", "mi": "mile mil", "g": "gram gr gm", "kg": "kilogram kilo", "mg": "milligram miligram",
    "t": "ton tonne", "lb": "pound lbs pon", "oz": "ounce", "l": "liter litre L", "ml": "milliliter millilitre mililiter mL", "gal": "gallon galon",
    # Times.
    "qt": "quart", "s": "second sec detik", "ms": "millisecond", "min": "minute mins menit", "h": "hour hr hrs jam", "day": "days hari d",
    "week": "wk minggu", "month": "mo bulan", "yr": "year tahun yrs", "$": "dollar USD usd buck", "cent": "cents sen ¢", "rp": "rupiah IDR idr Rp",
    "€": "euro EUR eur", "£": "GBP gbp", "¥": "yen yuan 元 JPY CNY", "%": "percent percentage pct persen", "deg": "degree degrees derajat",
    "rad": "radian", "rev": "revolution rotation putaran", "V": "volt", "A": "ampere amp", "W": "watt", "kW": "kilowatt", "J": "joule",
    "kJ": "kilojoule", "N": "newton", "Hz": "hertz", "Pa": "pascal", "C": "celsius Celsius coulomb", "F": "fahrenheit Fahrenheit", "K": "kelvin",
    "ohm": "ohms Omega", "mol": "mole", "cal": "calorie kalori", "unit": "units satuan", "ha": "hectare hektare", "acre": "acres", "dm": "decimeter",
}  # fmt: skip
_SYMBOLS = {name: symbol for symbol, names in _NAMES.items() for name in (symbol, *names.split())}
# Units that are a combination of others.
_COMPOUND = {
    "mph": "mi/h",
    "kph": "km/h",
    "kmh": "km/h",
    "rpm": "rev/min",
    "mps": "m/s",
    "fps": "ft/s",
    "sqft": "ft^2",
    "cc": "cm^3",
}
# Words around a unit that say nothing about it.
_IGNORED = frozenset(
    "of old long wide tall high deep apart away each more left total in all altogether exactly only lagi saja exact".split()  # noqa: SIM905
)
_POWERS = {
    "square": 2,
    "sq": 2,
    "cubic": 3,
    "cu": 3,
    "persegi": 2,
    "kubik": 3,
    "squared": 2,
    "cubed": 3,
    "kuadrat": 2,
}
_BEFORE = frozenset({"square", "sq", "cubic", "cu"})
# \frac{m}{s^2} is m / s^2.
_FRACTION = re.compile(r"\\frac\s*\{([^{}\d]+)\}\s*\{((?:[^{}]|\{\d\})+)\}")
# Powers, words, signs of currency, commands, punctuation.
_TOKEN = re.compile(r"\^\s*\{?\s*-?\d+\s*\}?|[^\W\d_]+|[/*%$€£¥¢]|\\[A-Za-z]+|[()\[\]{}.,;:_-]|\S")

Unit = tuple[frozenset, frozenset]  # (dimension, power) pairs, and the words of what is counted
NO_UNIT: Unit = (frozenset(), frozenset())


def read_unit(text: str, *, known_only: bool = False) -> Unit | None:
    """The unit that a normalised text consists of; None if it holds anything else. "" is NO_UNIT.

    known_only: a word that is no unit of measurement gives None, too; behind a formula it may be a factor.
    """
    text = _FRACTION.sub(r" \1 / \2 ", text)
    powers: dict[str, int] = {}
    things: list[str] = []
    sign, pending, last = (
        1,
        1,
        None,
    )  # after a "per"; the power that "square" announces; the unit that ^2 belongs to
    tokens = _TOKEN.findall(text)
    for index, token in enumerate(tokens):
        word = token.removeprefix("\\")
        symbol = _symbol(word)
        # A power belongs to the unit before it.
        if token[0] == "^":
            if last is None:
                return None
            powers[last] *= int(re.sub(r"[^\d-]", "", token))
        # What follows "per" is in the denominator: "18 dollars a day" and "m/s".
        elif word in ("per", "/", "a") and index and (word != "a" or index + 1 < len(tokens)):
            sign = -1
        # "square" announces a power, "squared" gives it to the unit before.
        elif word.lower() in _POWERS:
            if word.lower() in _BEFORE:
                pending = _POWERS[word.lower()]
            elif last is None:
                return None
            else:
                powers[last] *= _POWERS[word.lower()]
        # A unit: multiply it in.
        elif symbol is not None:
            for base, power in symbol:
                powers[base] = powers.get(base, 0) + sign * power * pending
                last = base
            sign = pending = 1
        # Signs between units, and brackets around them.
        elif word in ("cdot", "times", "*") or token in "()[]{}.,;:-":
            continue
        # Anything else is no unit; a word may be a thing.
        elif token[0] == "\\" or not word[0].isalpha() or known_only:
            return None
        elif word.lower() not in _IGNORED:
            things.append(_singular(word.lower()))
            sign = 1
    if "deg" in powers and powers.keys() & {"C", "F", "K"}:
        del powers["deg"]  # 32 degrees Fahrenheit
    return frozenset(powers.items()), frozenset(things)


def _symbol(word: str) -> list[tuple[str, int]] | None:
    """The dimensions of one word, such as [("m", 1)] of "meters"; None if it is no unit."""
    if word in _COMPOUND:
        return list(read_unit(_COMPOUND[word])[0])
    # As written, then singular, then in small letters; a single letter only as written.
    for name in (word, _singular(word), word.lower(), _singular(word.lower())):
        if name in _SYMBOLS and (len(name) > 1 or name == word):
            return [(_SYMBOLS[name], 1)]
    return None


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def same_unit(one: Unit, other: Unit) -> bool:
    """Whether two units do not contradict each other: one that is left out contradicts none, nor does "of pizza"."""
    if NO_UNIT in (one, other):
        return True
    # Measured things have to agree in every dimension, counted ones in a word.
    if one[0] or other[0]:
        return one[0] == other[0]
    return bool(one[1] & other[1])


_SUFFIX = re.compile(r"(?<=[\d)}\]A-Za-z])\s+[(\[]?(?=[A-Za-z\\$€£¥%])|(?<=[\w}])(?=\\Omega|%)")
_VARIABLE = re.compile(r"(?<![A-Za-z\\])(?!e\b)[A-Za-z](?![A-Za-z])")


def split_unit(text: str) -> tuple[str, Unit]:
    r"""A formula and the unit of measurement written behind it: `36\pi cm ^3` gives `36\pi` and cm3.

    A single letter is a unit only behind numbers: in `2\pi r h` it is a variable.
    """
    for match in _SUFFIX.finditer(text):
        formula, rest = text[: match.start()], text[match.start() :]
        # From the front, so that the longest unit is found.
        unit = read_unit(rest, known_only=True)
        if (
            formula
            and unit
            and unit != NO_UNIT
            and not (_VARIABLE.search(rest) and _VARIABLE.search(formula))
        ):
            return formula, unit
    return text, NO_UNIT
