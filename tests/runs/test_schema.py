"""docs/recipe.schema.json, by which editors check a recipe: it is that of the models, and fits what they take."""

import copy
import json
import runpy
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml
from jsonschema.exceptions import best_match

from evo_c2f.errors import InputError
from evo_c2f.runs import recipe
from evo_c2f.sections.section import Section

ROOT = Path(__file__).parents[2]
SCRIPT = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "recipe_schema.py")))
TEXT = (ROOT / "docs" / "recipe.schema.json").read_text(encoding="utf-8")
CHECK = jsonschema.validators.validator_for(json.loads(TEXT))(json.loads(TEXT))
# Sections whose keys are levels or metrics, which the schema doesn't name.
FREE = {("space", "widths"), ("search", "max"), ("search", "min")}


def as_editors_read(name: str) -> dict[str, Any]:
    """A recipe that comes along, with the keys of its mappings as text, as in JSON."""
    text = files("evo_c2f.runs.recipes").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return json.loads(json.dumps(yaml.safe_load(text)))


def keys_of(data: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The place of each setting and section, from the top."""
    found = []
    for key, value in data.items():
        found.append((*above, key))
        if isinstance(value, dict) and found[-1] not in FREE:
            found += keys_of(value, found[-1])
    return found


def with_key(data: dict[str, Any], place: tuple[str, ...], key: str) -> dict[str, Any]:
    """The recipe in which the setting at this place stands under another key too."""
    changed = copy.deepcopy(data)
    section = changed
    for name in place[:-1]:
        section = section[name]
    section[key] = section[place[-1]]
    return changed


def test_the_schema_is_that_of_the_models() -> None:
    assert SCRIPT.text() == TEXT, "a section changed; write its schema again: python docs/recipe_schema.py"


def test_the_schema_is_a_schema() -> None:
    CHECK.check_schema(CHECK.schema)
    assert CHECK.META_SCHEMA["$id"] == CHECK.schema["$schema"]


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_that_comes_along_fits(name: str) -> None:
    assert best_match(CHECK.iter_errors(as_editors_read(name))) is None


@pytest.mark.parametrize("name", recipe.names())
def test_a_whole_resolved_recipe_fits(name: str) -> None:
    resolved = recipe.load(name, ("search.max.size_mb=1.49", "search.min.psnr_y=25"))
    assert best_match(CHECK.iter_errors(json.loads(resolved.model_dump_json()))) is None


@pytest.mark.parametrize("name", recipe.names())
def test_a_misspelt_key_does_not_fit_wherever_it_stands(name: str) -> None:
    data = as_editors_read(name)
    places = keys_of(data)
    assert {("name",), ("space", "n_cells"), ("search", "evaluations", "path")} < set(places)
    for place in places:
        misspelt = f"{place[-1]}z"
        errors = list(CHECK.iter_errors(with_key(data, place, misspelt)))
        assert errors and f"'{misspelt}' was unexpected" in str(best_match(errors).message), place


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("task.name", "super-resolutoin"),
        ("task.scale", 5),
        ("data.degradation", {"jpeg": {"quality": [0, 30]}}),
        ("data.patch", 0),
        ("data.load_size", 64),  # of the other task
        ("training.sampler", "fare"),
        ("training.losses.l1", -1),
        ("search.objectives", "psnr_y"),
        ("search.output_size", [720]),
        ("space.widths", {"1": 8}),
        ("finetune.phases", [{"until": 2}]),
    ],
)
def test_what_the_models_refuse_by_its_kind_does_not_fit(place: str, value: object) -> None:
    data = as_editors_read("quick")
    *sections, key = place.split(".")
    section = data
    for name in sections:
        section = section.setdefault(name, {})
    section[key] = value
    assert not CHECK.is_valid(data)
    with pytest.raises(InputError):
        recipe.load("quick", (f"{place}={json.dumps(value)}",))


class Example(Section):
    both: int = 1  # beside it
    # Above it,
    # on two lines.
    above: int = 1
    silent: int = 1


def test_a_comment_beside_or_above_a_field_describes_it() -> None:
    assert SCRIPT.remarks(Example) == {"both": "beside it", "above": "Above it, on two lines."}
