"""Completions as a page: what the policy thought, what it answered, what each reward paid, before beside after.

Plain HTML with its own style sheet: no script, no widget, nothing fetched. It survives a saved notebook, follows the
reader's light or dark setting, and prints. Where a host strips style sheets, the text still reads in order.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from r1lab.prompts import TAGS
from r1lab.self_checks import SELF_CHECK

STYLE = """
.r1lab-traces { --page:#fff; --ink:#1f2328; --soft:#59636e; --line:#d1d9e0; --card:#f6f8fa; --think:#e2eefa;
  --answer:#ffe9a8; --answer-ink:#3d2c00; --check:#b34700; --good:#00664b; --good-page:#d9f2e8;
  --bad:#a33c00; --bad-page:#fde6d8; --plain-page:#e9edf1;
  background:var(--page); color:var(--ink); font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
  padding:2px; max-width:1200px; text-align:left; print-color-adjust:exact; -webkit-print-color-adjust:exact }
@media screen and (prefers-color-scheme:dark) { .r1lab-traces { --page:#0d1117; --ink:#e6edf3; --soft:#a5b0bc; --line:#3d444d;
  --card:#161b22; --think:#15304d; --answer:#5c4700; --answer-ink:#fff3cf; --check:#ffa05c;
  --good:#7fe0bd; --good-page:#0e3b2e; --bad:#ffb38a; --bad-page:#4a2210; --plain-page:#2a313a } }
.r1lab-traces .trace { border:1px solid var(--line); border-radius:8px; margin:0 0 14px; overflow:hidden;
  break-inside:avoid }
.r1lab-traces .head { background:var(--card); border-bottom:1px solid var(--line); padding:8px 14px }
.r1lab-traces .title { color:var(--soft); font-size:13px; font-weight:600 }
.r1lab-traces .prompt { font-size:16px; font-weight:600; white-space:pre-wrap; overflow-wrap:anywhere }
.r1lab-traces .panes { display:flex; flex-wrap:wrap }
.r1lab-traces .pane { flex:1 1 340px; min-width:0; padding:10px 14px; box-sizing:border-box;
  box-shadow:-1px -1px 0 var(--line) }
.r1lab-traces .side { font-size:13px; font-weight:700; color:var(--soft); margin:0 0 4px }
.r1lab-traces pre { margin:0; padding:0; background:none; border:0; color:inherit; max-height:24em; overflow:auto;
  white-space:pre-wrap; overflow-wrap:anywhere; font:14.5px/1.6 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace }
.r1lab-traces .tag { color:var(--soft); font-size:12.5px }
.r1lab-traces .think { background:var(--think); padding:2px 0;
  -webkit-box-decoration-break:clone; box-decoration-break:clone }
.r1lab-traces .answer { background:var(--answer); color:var(--answer-ink); font-weight:700; padding:2px 4px;
  border-radius:3px }
.r1lab-traces .check { color:var(--check); font-weight:700; text-decoration:underline; text-underline-offset:3px }
.r1lab-traces .empty { color:var(--soft); font-style:italic }
.r1lab-traces .badges { margin:8px 0 0; display:flex; flex-wrap:wrap; gap:6px }
.r1lab-traces .badge { font-size:13px; line-height:1.35; padding:2px 9px; border-radius:11px; color:var(--ink);
  background:var(--plain-page); font-variant-numeric:tabular-nums; white-space:nowrap }
.r1lab-traces .good { color:var(--good); background:var(--good-page) }
.r1lab-traces .bad { color:var(--bad); background:var(--bad-page) }
.r1lab-traces .strong { font-weight:700; border:1px solid currentColor; padding:1px 9px }
@media print { .r1lab-traces pre { max-height:none; overflow:visible } .r1lab-traces .trace { break-inside:auto } }
"""
LONG = 1500  # characters that fit the height of a pane
_TAG = re.compile("(" + "|".join(map(re.escape, TAGS)) + ")")


@dataclass(frozen=True)
class TraceView:
    """A page of traces; a notebook shows it, `str()` gives its HTML."""

    body: str
    count: int

    def _repr_html_(self) -> str:
        return f'<div class="r1lab-traces"><style>{STYLE}</style>{self.body}</div>'

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
    return TraceView("".join(_trace(row) for row in rows), len(rows))


def _trace(row: dict) -> str:
    if "completion" in row:
        panes = [("", row)]
    elif "before" in row and "after" in row:
        panes = [(side, _side(row[side])) for side in ("before", "after")]
    else:
        raise ValueError(f"a trace needs `completion`, or `before` and `after`; this one has {sorted(row)}")
    title = f'<div class="title">{html.escape(str(row["title"]))}</div>' if row.get("title") else ""
    head = f'<div class="head">{title}<div class="prompt">{html.escape(str(row["prompt"]))}</div></div>'
    body = "".join(_pane(name, pane) for name, pane in panes)
    shared = "" if "completion" in row else _badges(row)
    shared = f'<div class="pane">{shared}</div>' if shared else ""
    return f'<div class="trace">{head}<div class="panes">{body}</div>{shared}</div>'


def _side(side: str | dict) -> dict:
    return side if isinstance(side, dict) else {"completion": side}


def _pane(name: str, pane: dict) -> str:
    side = f'<div class="side">{name.capitalize()}</div>' if name else ""
    return f'<div class="pane">{side}<pre>{_completion(pane["completion"])}</pre>{_badges(pane)}</div>'


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
    pieces, end = [], 0
    for match in SELF_CHECK.finditer(text):
        pieces.append(html.escape(text[end : match.start()]))
        pieces.append(f'<span class="check">{html.escape(match[0])}</span>')
        end = match.end()
    return "".join(pieces) + html.escape(text[end:])


def _badges(row: dict) -> str:
    badges = [
        _badge(f"{name} {_number(value)}", _tone(value)) for name, value in (row.get("rewards") or {}).items()
    ]
    advantage = row.get("advantage")
    if advantage is not None:
        badges.append(_badge(f"advantage {_signed(advantage)}", f"{_tone(advantage)} strong"))
    if len(row.get("completion", "")) > LONG:
        badges.append(_badge(f"{len(row['completion']):,} characters: scroll", ""))
    if row.get("truncated"):
        badges.append(_badge("cut off at the token limit", "bad"))
    return f'<div class="badges">{" ".join(badges)}</div>' if badges else ""


def _badge(text: str, tone: str) -> str:
    return f'<span class="badge {tone}">{html.escape(text)}</span>'


def _tone(value: float | None) -> str:
    return "" if not value else ("good" if value > 0 else "bad")


def _signed(value: float) -> str:
    return f"{value:+.2f}" if abs(value) >= 0.005 else "0"


def _number(value: float | None) -> str:
    return "not graded" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")
