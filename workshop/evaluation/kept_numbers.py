"""Numbers on disk, each with what was asked: they are measured again only when something else is asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ar_core.files import json_value, read_json, write_json

Numbers = dict[str, Any]


def kept_numbers(path: Path, asked: Numbers, measure: Callable[[], Numbers]) -> Numbers:
    """What `path` holds where it answers the same question, else what `measure` finds, which is kept there."""
    question = json_value(asked)
    kept = {}
    if path.exists():
        kept = read_json(path)
    if kept.get("asked") != question:
        kept = {"asked": question, "found": json_value(measure())}
        write_json(path, kept)
    return kept["found"]


def question_digest(*asked: object) -> str:
    """A short name for a question. What JSON does not know is taken as Python writes it."""
    text = json.dumps(asked, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
