"""Completions as a page: reasoning, answer and rewards, before beside after.

Plain HTML with its own style sheet, `traces.css`: no script, no widget, nothing fetched. It survives a saved notebook,
follows the reader's light or dark setting, and prints. Where a host strips style sheets, the text still reads in order.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from r1lab.prompts import TAGS
from r1lab.self_checks import SELF_CHECK

LONG = 1500  # characters that fit the height of a pane
_TAG = re.compile("(" + "|".join(map(re.escape, TAGS)) + ")")
_CHECK = re.compile(f"({SELF_CHECK.pattern})", SELF_CHECK.flags)


@dataclass(frozen=True)
class TraceView:
    """A page of traces; a notebook shows it, `str()` gives its HTML."""

    body: str
    count: int

    def _repr_html_(self) -> str:
        style = Path(__file__).with_name("traces.css").read_text(encoding="utf-8")
        return f'<div class="r1lab-traces"><style>\n{style}</style>{self.body}</div>'

    __str__ = _repr_html_

    def __repr__(self) -> str:
        return f"<{self.count} traces: show them in a notebook, or write str() of this to an .html file>"


def show_traces(rows: Sequence[dict]) -> TraceView:
    """Lay out completions for reading: reasoning shaded, answer highlighted, self-checks underlined, rewards as badges.

    rows: dicts with `prompt` (str) and either `completion` (str), or `before` and `after`, which stand side by side.
    Optional: `title`, `rewards` {name: value or None}, `advantage` (float or None), `truncated` (bool). A side may be
    a dict of its own with `completion`, `rewards`, `advantage`, `truncated`. All text is escaped; tags are shown as
    written, because a missing one is what a format reward is about. Raises ValueError on a row with neither form.
    """
    return TraceView("".join(map(_trace, rows)), len(rows))


def _trace(row: dict) -> str:
    if "completion" in row:
        panes, shared = _pane(row), ""
    elif "before" in row and "after" in row:
        panes = _pane(row["before"], "Before") + _pane(row["after"], "After")
        shared = _badges(row)
    else:
        raise ValueError(f"a trace needs `completion`, or `before` and `after`; this one has {sorted(row)}")
    title = f'<div class="title">{html.escape(str(row["title"]))}</div>' if row.get("title") else ""
    head = f'<div class="head">{title}<div class="prompt">{html.escape(str(row["prompt"]))}</div></div>'
    shared = f'<div class="pane">{shared}</div>' if shared else ""
    return f'<div class="trace">{head}<div class="panes">{panes}</div>{shared}</div>'


def _pane(side: str | dict, name: str = "") -> str:
    side = side if isinstance(side, dict) else {"completion": side}
    name = f'<div class="side">{name}</div>' if name else ""
    return f'<div class="pane">{name}<pre>{_completion(side["completion"])}</pre>{_badges(side)}</div>'


def _completion(text: str) -> str:
    """A completion as escaped HTML: tags small, the text inside them marked, whatever their order."""
    if not text.strip():
        return '<span class="empty">(empty)</span>'
    inside, pieces = None, []
    for piece in _TAG.split(text):
        if piece in TAGS:
            inside = None if piece.startswith("</") else piece.strip("<>")
            pieces.append(f'<span class="tag">{html.escape(piece)}</span>')
        elif piece:
            marked = _mark_checks(piece)
            pieces.append(f'<span class="{inside}">{marked}</span>' if inside and piece.strip() else marked)
    return "".join(pieces)


def _mark_checks(text: str) -> str:
    # A pattern with one group splits into text, check, text, check, ...
    pieces = [html.escape(piece) for piece in _CHECK.split(text)]
    pieces[1::2] = [f'<span class="check">{piece}</span>' for piece in pieces[1::2]]
    return "".join(pieces)


def _badges(row: dict) -> str:
    """Rewards, advantage and warnings as small labels, or "" where there are none."""
    badges = []
    for name, value in (row.get("rewards") or {}).items():
        number = "not graded" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")
        badges.append((f"{name} {number}", _tone(value)))
    advantage = row.get("advantage")
    if advantage is not None:
        number = f"{advantage:+.2f}" if abs(advantage) >= 0.005 else "0"
        badges.append((f"advantage {number}", f"{_tone(advantage)} strong"))
    if len(row.get("completion", "")) > LONG:
        badges.append((f"{len(row['completion']):,} characters: scroll", ""))
    if row.get("truncated"):
        badges.append(("cut off at the token limit", "bad"))
    spans = [f'<span class="badge {tone}">{html.escape(text)}</span>' for text, tone in badges]
    return f'<div class="badges">{" ".join(spans)}</div>' if spans else ""


def _tone(value: float | None) -> str:
    return "" if not value else "good" if value > 0 else "bad"
