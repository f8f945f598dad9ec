"""Executed notebooks as web pages that need nothing from the network: no script, no font, no remote image."""

import base64
import html
import mimetypes
import os
import time
from pathlib import Path
from urllib.parse import unquote


def clock(seconds: float) -> str:
    """Minutes and seconds, as in 4:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


STYLE = """
:root { color-scheme: light dark; --ink: #1d2433; --page: #ffffff; --soft: #f4f5f8; --line: #d9dde6; --link: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dfe3ec; --page: #14171d; --soft: #1d222b; --line: #39404d; --link: #7db8ff; }
  img { background: #ffffff; border-radius: 4px; }
}
* { box-sizing: border-box; }
body { color: var(--ink); background: var(--page); font: 16px/1.6 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem;
  max-width: 60rem; }
a { color: var(--link); } a.anchor-link { display: none; }
h1, h2, h3 { line-height: 1.25; margin: 1.8em 0 .5em; } h1 { margin-top: .4em; }
pre, code { font: 13.5px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
:not(pre) > code { background: var(--soft); padding: .1em .3em; border-radius: 3px; }
pre { overflow-x: auto; margin: 0; padding: .6rem .8rem; }
.highlight { background: var(--soft); border: 1px solid var(--line); border-radius: 5px; margin: .7rem 0 .2rem; }
.output pre { white-space: pre-wrap; border-left: 3px solid var(--line); margin: .3rem 0; }
.output_error pre { border-color: #c0392b; }
.prompt { display: none; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 15px; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .8rem; text-align: left; }
th { background: var(--soft); }
blockquote { border-left: 4px solid var(--line); margin: 1rem 0; padding: .1rem 1rem; background: var(--soft); }
math[display="block"] { margin: 1rem 0; overflow: auto hidden; }
nav, footer { font-size: 14px; opacity: .85; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } .highlight, img, tr { break-inside: avoid; } }
"""


def document(title: str, body: str) -> str:
    """A whole HTML page with the course's style inlined."""
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    plain = "\n.highlight, .highlight pre { background: var(--soft); }"
    style = f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}{plain}{STYLE}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{html.escape(title)}</title>'
        f"<style>\n{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def markdown_html(source: str) -> str:
    """Markdown to HTML, with TeX formulas as MathML, which browsers draw without a script."""
    from latex2mathml import converter, exceptions
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    unreadable = tuple(kind for kind in vars(exceptions).values() if isinstance(kind, type))

    class Renderer(IPythonRenderer):
        def block_math(self, body):
            return self._math(body, "block")

        def inline_math(self, body):
            return self._math(body, "inline")

        def latex_environment(self, name, body):
            return self._math(f"\\begin{{{name}}}{body}\\end{{{name}}}", "block")

        def _math(self, body, display):
            body = body.replace("{aligned}", "{split}")  # the converter knows the second of two equals
            try:
                return converter.convert(body, display=display)
            except unreadable:  # the source of a formula still says what it means
                return f"<code>{html.escape(body)}</code>"

    return MarkdownWithMath(renderer=Renderer(escape=False)).render(source)


def page(notebook, path: Path) -> str:
    """One executed notebook as a self-contained HTML page: images inside, formulas as MathML, no script, no request."""
    from bs4 import BeautifulSoup
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic", exclude_anchor_links=True)
    exporter.register_filter("markdown2html", lambda source: markdown_html(source))
    exporter.log.setLevel("ERROR")  # it warns of pictures without a description, which markdown has none for
    body, _ = exporter.from_notebook_node(notebook)
    soup = BeautifulSoup(body, "html.parser")
    for element in soup(["script", "link", "iframe"]):
        element.decompose()
    for image in soup("img"):
        source = image.get("src", "")
        local = path.parent / unquote(source)
        if source.startswith("data:"):
            continue
        if "://" not in source and local.is_file():
            kind = mimetypes.guess_type(local.name)[0] or "image/png"
            image["src"] = f"data:{kind};base64,{base64.b64encode(local.read_bytes()).decode()}"
        else:
            image.replace_with(image.get("alt", ""))
    for link in soup("a", href=True):
        href = link["href"]
        if "://" in href or href.startswith(("#", "mailto:")):
            continue
        file, mark, anchor = href.partition("#")
        # Another notebook of the course: its page is in the same folder.
        if file.endswith(".ipynb") and "/" not in file:
            file = file.removesuffix(".ipynb") + ".html"
        else:
            file = os.path.relpath(path.parent / file, path.parents[1] / "build" / "course")
        link["href"] = file + mark + anchor
    nav = '<nav><a href="index.html">r1lab: all notebooks and results</a></nav>\n'
    return document(path.stem, nav + str(soup))


def index_page(paths: list[Path], seconds: dict[str, float], results: Path) -> str:
    """The first page of a finished course: what was measured, how long it took, and where to read it."""
    from r1lab import __version__

    rows = "\n".join(
        f"| [{path.stem}]({path.stem}.html) | {clock(seconds[path.stem])} | [{path.name}]({path.name}) |"
        for path in paths
    )
    parts = [
        "# r1lab: this machine's run of the course",
        f"Version {__version__}, scale tiny, {time.strftime('%Y-%m-%d %H:%M')}, {clock(sum(seconds.values()))} in all.",
        "## Results",
        results_table(results),
        results_table(results, "domain"),
        results_table(results, "level"),
        "## Notebooks",
        f"| read | minutes | open in Jupyter |\n|---|---|---|\n{rows}",
    ]
    return document("r1lab", markdown_html("\n\n".join(parts)))


def results_table(results: Path, rows: str | None = None) -> str:
    """The before/after table, in Markdown, of the evaluation reports in the folder `results`; `rows` groups it."""
    reports = {
        label: results / name
        for label, name in (("base", "zero-before.json"), ("R1-Zero", "zero-after.json"))
        if (results / name).is_file()
    }
    if not reports:
        return "" if rows else "No evaluation report was written: notebook 04 makes them."
    from r1lab.evaluation import load_report, table

    return table({label: load_report(path) for label, path in reports.items()}, rows)
