"""Files that a crash cannot leave half written."""

import json
import os
from pathlib import Path
from typing import Any


def write_text(text: str, path: Path | str) -> None:
    """Write `text` to `path`, whose folder is created, so that a reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
        # Renaming within a folder happens at once or not at all.
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(value: Any, path: Path | str, *, indent: int | None = None) -> None:
    """`write_text` of `value` as JSON: on one line without spaces, or indented by `indent` spaces with a newline at the end."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, separators=separators, indent=indent)
    write_text(text + ("\n" if indent else ""), path)
