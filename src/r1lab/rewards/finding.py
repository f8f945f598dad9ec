"""Where in an answer the code is: fenced blocks, or a definition in the middle of prose."""

import ast
import builtins
import re
import textwrap
import warnings
from typing import NamedTuple

LONGEST_CODE = 20_000  # characters; longer code is not searched for helpers, and no sandbox runs it


class Block(NamedTuple):
    """A fenced block: the word behind its opening fence, and its code."""

    language: str
    code: str


# An opening fence, with the language in any spelling: ```py, ``` Python, ```{.python}.
_OPENING = re.compile(r"(?P<before>.*?)(?P<fence>```+|~~~+)[ \t]*\{?\.?(?P<language>[\w+#-]*)\}?[^`~\n]*")
# Blocks that show output or another language are no answer.
_OTHER_LANGUAGES = frozenset(
    "text txt output console bash sh shell json plaintext input java cpp c js javascript".split()  # noqa: SIM905
)
MOST_FENCES = 100  # of a text; earlier ones are not looked at
MOST_ENDS = 6  # tried as the end of one block
LONGEST_FENCE = 200  # characters of the line


def read_blocks(text: str) -> list[Block]:
    """The fenced blocks of a text, in order. A last block without its closing fence counts, as does a first without its opening one."""
    lines, blocks, index = text.splitlines(), [], 0
    fences = [n for n, line in enumerate(lines) if "```" in line or "~~~" in line]
    lines = lines[fences[-MOST_FENCES] :] if len(fences) > MOST_FENCES else lines
    while index < len(lines):
        match = _OPENING.fullmatch(lines[index]) if len(lines[index]) <= LONGEST_FENCE else None
        if match is None:
            index += 1
            continue
        above = "\n".join(lines[:index])
        if (
            not blocks
            and not match["language"]
            and not match["before"].strip()
            and above.strip()
            and _parses(above)
        ):
            blocks.append(Block("", above))  # only a closing fence, below code
            index += 1
            continue
        # The block ends at the first fence up to which it is Python (one may stand in a docstring), else at the first.
        ends = [n for n in range(index + 1, len(lines)) if lines[n].rstrip().endswith(match["fence"])]
        bodies = {
            n: "\n".join([*lines[index + 1 : n], lines[n].rstrip().rstrip(match["fence"][0])])
            for n in ends[:MOST_ENDS]
        }
        end = next(
            (n for n, body in bodies.items() if _parses(textwrap.dedent(body))),
            ends[0] if ends else len(lines),
        )
        body = bodies.get(end, "\n".join(lines[index + 1 :]))
        blocks.append(Block(match["language"].lower(), textwrap.dedent(body).strip("\n ")))
        index = end + 1
    return [block for block in blocks if block.code]


def find_code(text: str, function: str, *, tagged: bool) -> str:
    """The code of an answer: its last fenced block that defines `function`, or all of it; "" if there is none.

    A program (function "") is the last block that reads its input, else the last one. Earlier blocks are put in front
    if they define what the chosen one uses. tagged: the text is the body of `<answer>`. If it is not, the code starts at
    the last `def` of `function`, or at the imports and helpers directly above it, and the full stop at its end is dropped.
    """
    definition = re.compile(
        rf"\bdef\s+{re.escape(function)}\s*\(|^\s*{re.escape(function)}\s*=[^=]", re.MULTILINE
    )
    wanted = definition if function else _READS_INPUT
    text = text.replace("\r\n", "\n")
    text = text if "\n" in text.strip() else text.strip().strip("`")  # `def f(x): return x`, in one line
    if blocks := read_blocks(text):
        own = [block for block in blocks if block.language not in _OTHER_LANGUAGES] or blocks
        # The last block that does what is asked for.
        chosen = next((n for n in reversed(range(len(own))) if wanted.search(own[n].code)), len(own) - 1)
        return _with_earlier_blocks([block.code for block in own[: chosen + 1]])
    if tagged or not function:
        return text.strip()
    # No fence and no tag: code in the middle of prose.
    matches = list(definition.finditer(text))
    return _with_lines_above(text.rstrip(". \t\n"), matches[-1].start()) if matches else ""


_READS_INPUT = re.compile(r"\binput\s*\(|\bstdin\b|\bopen\s*\(\s*0|\bos\.read\s*\(\s*0")


def _with_earlier_blocks(codes: list[str]) -> str:
    """The last code, and in front of it each earlier one that defines a name it uses and does not define."""
    code = codes[-1]
    for earlier in reversed(codes[:-1]):
        if len(code) + len(earlier) > LONGEST_CODE:
            break
        defined, used = _names(code)
        if (used - defined - set(dir(builtins))) & _names(earlier)[0]:
            code = f"{earlier}\n\n{code}"
    return code.strip()


def _names(code: str) -> tuple[set[str], set[str]]:
    """The names that a code defines anywhere, and those it uses; both empty if it does not parse."""
    defined, used = set(), set()
    for node in ast.walk(_parse(code) or ast.Module([], [])):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
    return defined, used


# How a line of Python may begin.
_CODE_LINE = re.compile(r"(?:import|from|def|class)\b|@|#|\w+ *=|[ \t)\]}]|$")


def _with_lines_above(code: str, start: int) -> str:
    """The code from `start` on, and the lines directly above it that are code, if together they parse."""
    above = code[:start].split("\n")
    first = len(above) - 1
    if above[first].strip() or len(code) > LONGEST_CODE:
        return code[
            start:
        ].strip()  # the `def` is in the middle of a line of text, so nothing above it is code
    while first and _CODE_LINE.match(above[first - 1]):
        first -= 1
    whole = textwrap.dedent("\n".join(above[first:]) + code[start:])
    return whole.strip() if _parses(whole) else code[start:].strip()


def _parse(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _parses(code: str) -> bool:
    return _parse(code) is not None
