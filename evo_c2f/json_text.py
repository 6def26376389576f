"""Standard JSON: Python's own writer gives NaN and Infinity, which other programs reject."""

import json
import math
from typing import Any


def to_json(data: Any, indent: int | None = None, compact: bool = False) -> str:
    """The text; numbers that are not finite become null."""
    return json.dumps(finite(data), allow_nan=False, indent=indent, separators=(",", ":") if compact else None)


def to_yaml_value(data: Any) -> str:
    """JSON that YAML reads alike: it has no escapes for characters beyond U+FFFF."""
    return json.dumps(finite(data), allow_nan=False, ensure_ascii=False)


def finite(data: Any) -> Any:
    """The same, with None for numbers that are not finite."""
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    return data
