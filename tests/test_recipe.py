"""Recipes: what comes with the package, overrides, and one sentence for each thing that is wrong."""

import pytest

from evo_c2f import recipe
from evo_c2f.errors import DamagedFileError, InputError


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_of_the_package_loads_and_survives_yaml(name, tmp_path):
    loaded = recipe.load(name)
    assert loaded.name == name and loaded.search.metrics()
    (tmp_path / "recipe.yaml").write_text(loaded.to_yaml())
    assert recipe.load_run(tmp_path / "recipe.yaml") == loaded == recipe.load(str(tmp_path / "recipe.yaml"))


def test_the_full_space_holds_more_than_a_million_million_architectures():
    assert recipe.load("sr-x4").space.n_architectures > 10**12


def test_an_override_changes_its_setting_alone():
    loaded, changed = recipe.load("quick"), recipe.load("quick", ("training.rounds=7", "search.max.size_mb=1.5"))
    assert changed.training.rounds == 7 and changed.search.max == {"size_mb": 1.5}
    assert changed.first_difference(loaded) == "training.rounds is 7 there, 3500 here"
    assert changed.space == loaded.space and changed.data == loaded.data


def test_search_settings_and_names_make_no_other_run():
    loaded = recipe.load("quick")
    assert loaded.first_difference(recipe.load("quick", ("name=mine", "search.population=8"))) is None


BAD = [
    ("training.rouns=3", "setting 'training.rouns' is unknown; did you mean 'rounds'?"),
    ("space.n_cell=3", "did you mean 'n_cells'?"),
    ("colour=red", "setting 'colour' is unknown"),
    ("training.rounds=0", "training.rounds is 0; input should be greater than 0"),
    ("training.rounds=many", "training.rounds is 'many'"),
    ("training=3", "training is 3"),
    ("task.scale=3", "task.scale is 3"),
    ("task.name=music", "task.name is 'music'"),
    ("search.population=2", "search.population is 2"),
    ("search.max={macs: cheap}", "search.max.macs is 'cheap'"),
    ("space.widths={1: [8, 8]}", "widths of level 1 are [8, 8]; give ascending multiples of 4"),
    ("space.widths={1: [8], 3: [8]}", "the levels of widths are [1, 3]"),
    ("space.inner_ratios=[0.5, 0.6]", "no two choices may be the same"),
    ("space.reference_operator=magic", "'magic' is not among"),
    ("space.reference_path=[1, 3, 1, 1, 1]", "is no valid path"),
    ("space.n_cells=4", "reference_path has 5 cells, the space 4"),
    ("training.rounds", "has no '='; write --set key=value"),
    ("name.first=3", "name is a value, it holds no settings"),
    ("training.rounds=[3", "is no YAML"),
]


@pytest.mark.parametrize(("override", "sentence"), BAD)
def test_a_bad_setting_is_named_in_one_sentence(override, sentence):
    with pytest.raises(InputError) as caught:
        recipe.load("quick", (override,))
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "method", "sentence"),
    [
        ("search.objectives=[psnr_y, speed]", "metrics", "'speed' is unknown"),
        ("search.objectives=[psnr_y]", "metrics", "name at least two"),
        ("search.objectives=[macs, macs]", "metrics", "each once"),
        ("search.max.speed=1", "limits", "'speed' is unknown"),
    ],
)
def test_unknown_metrics_are_named(section, method, sentence):
    with pytest.raises(InputError, match=sentence):
        getattr(recipe.load("quick", (section,)).search, method)()


def test_limits_that_contradict_each_other_are_named():
    search = recipe.load("quick", ("search.max.macs=2", "search.min.macs=3")).search
    with pytest.raises(InputError, match="macs can't be at least 3 and at most 2"):
        search.limits()


@pytest.mark.parametrize("text", ["", "- a\n- b", "a: [", "{a: 1", "a: !!python/object/apply:os.getcwd []", "\x00"])
def test_a_file_that_is_no_recipe_is_refused(text, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InputError, match="mine.yaml"):
        recipe.load(str(tmp_path / "mine.yaml"))
    with pytest.raises(DamagedFileError, match="mine.yaml is damaged"):
        recipe.load_run(tmp_path / "mine.yaml")


@pytest.mark.parametrize("name", ["quik", "no/such.yaml"])
def test_a_recipe_that_is_not_there_is_named(name):
    with pytest.raises(InputError, match=name):
        recipe.load(name)


def test_only_the_search_of_a_trained_run_can_change():
    loaded = recipe.load("quick")
    assert recipe.changed(loaded, ("search.population=8",)).search.population == 8
    with pytest.raises(InputError, match="training.rounds was fixed when the supernet was trained"):
        recipe.changed(loaded, ("training.rounds=3",))
