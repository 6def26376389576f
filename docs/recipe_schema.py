"""Writes docs/recipe.schema.json, by which editors check and complete a recipe; made from the models of its sections.

python docs/recipe_schema.py
"""

import ast
import inspect
import io
import json
import textwrap
import tokenize
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import json_schema

from evo_c2f.files import write_text
from evo_c2f.runs import recipe
from evo_c2f.sections import data, search, training

SCHEMA = Path(__file__).with_name("recipe.schema.json")
DIALECT = "https://json-schema.org/draft/2020-12/schema"
TITLE = "A recipe of evo_c2f"
DESCRIPTION = "All settings of a run, in YAML. Made by docs/recipe_schema.py; don't edit this file."


class WithoutTitles(json_schema.GenerateJsonSchema):
    """A field's title would repeat its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def remarks(model: type) -> dict[str, str]:
    """field -> the comment beside it, or else the one on the lines above it. Fields without a comment are left out."""
    source = textwrap.dedent(inspect.getsource(model))
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    alone = {t.start[0] for t in tokens if t.type == tokenize.COMMENT and t.line.lstrip().startswith("#")}
    found = {}
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above = list(takewhile(alone.__contains__, range(node.lineno - 1, 0, -1)))[::-1]
            lines = [node.end_lineno] if node.end_lineno in comments else above
            if lines:
                found[node.target.id] = " ".join(comments[line] for line in lines)
    return found


def unwrapped(docstring: str) -> str:
    """Each paragraph on one line: an editor wraps it to its own width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in docstring.split("\n\n"))


def by_task(kinds: dict[str, Any]) -> dict[str, Any]:
    """The rules of the task that a recipe names, or of the first. With `oneOf`, an editor may report another task's."""
    (_, rule), *others = kinds.items()
    for task, kind in others:
        named = {"properties": {"task": {"properties": {"name": {"const": task}}, "required": ["name"]}}}
        rule = {"if": {**named, "required": ["task"]}, "then": kind, "else": rule}
    return {"properties": {"task": {"properties": {"name": {"enum": list(kinds)}}}}, **rule}


def schema() -> dict[str, Any]:
    """One schema for the recipes of all tasks."""
    kinds, made = json_schema.models_json_schema(
        [(kind, "validation") for kind in recipe.RECIPES.values()],
        title=TITLE,
        description=DESCRIPTION,
        schema_generator=WithoutTitles,
    )
    models = vars(data) | vars(training) | vars(search) | vars(recipe)
    for name, definition in made["$defs"].items():
        if "description" in definition:
            definition["description"] = unwrapped(definition["description"])
        for base in models[name].__mro__[::-1]:  # a model's own remark takes the place of an inherited one
            if base.__module__.startswith("evo_c2f"):
                for field, remark in remarks(base).items():
                    definition["properties"][field]["description"] = remark
    heads = {"$schema": DIALECT, "title": made.pop("title"), "description": made.pop("description")}
    return {**heads, **by_task({task: kinds[kind, "validation"] for task, kind in recipe.RECIPES.items()}), **made}


def text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_text(SCHEMA, text())
