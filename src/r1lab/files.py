"""Writes text and JSON files that a crash cannot leave half written."""

import json
import os
from pathlib import Path
from typing import Any


def write_text(text: str, path: Path | str) -> None:
    """Write `text` to `path`, whose folder is created. A reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The number of the process, because two of them may write the same file.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
        # Renaming within a folder happens at once or not at all.
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(value: Any, path: Path | str) -> None:
    """Write `value` to `path` as JSON on one line without spaces, as `write_text` does."""
    write_text(json.dumps(value, separators=(",", ":")), path)
