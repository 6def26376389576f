import pytest
import yaml

from evo_c2f.errors import DamagedFileError, InputError
from evo_c2f.runs import recipe
from evo_c2f.runs.run import RunFolder
from evo_c2f.sections.training import LossesSection


@pytest.fixture(scope="session")
def quick():
    return recipe.load("quick")


# -- reading ---------------------------------------------------------------------------------------


def test_quick_is_a_recipe_that_comes_with_the_package(quick):
    assert "quick" in recipe.names()
    assert (quick.name, quick.task.scale, quick.space.n_cells) == ("quick", 4, 5)
    assert [m.name for m in quick.search.metrics()] == ["psnr_y", "macs"] and quick.search.limits() == ()
    for stage in ("path", "operator", "channel", "joint"):
        assert recipe.evaluations(quick, stage) == getattr(quick.search.evaluations, stage) > quick.search.population


def test_every_recipe_that_comes_along_can_be_read():
    for name in recipe.names():
        loaded = recipe.load(name)
        assert loaded.name == name and loaded.search.metrics() and loaded.space.n_subnets > 1


def test_the_full_space_holds_more_than_a_million_million_architectures():
    assert recipe.load("sr-x4").space.n_architectures > 10**12


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_survives_its_yaml(name, tmp_path):
    original = recipe.load(
        name, ("search.max.size_mb=1.49", "data.folder=photographs", "training.losses.distillation=0.5")
    )
    path = tmp_path / "again.yaml"
    path.write_text(original.to_yaml())
    for again in (recipe.load(str(path)), recipe.load_run(path)):
        assert again == original and again.to_yaml() == original.to_yaml()
        assert again.space.digest == original.space.digest


def test_a_skipped_cell_of_the_reference_path_survives_yaml(tmp_path):
    original = recipe.load("quick", ("space.reference_path=[2, skip, 2, 1, skip]",))
    (tmp_path / "again.yaml").write_text(original.to_yaml())
    assert recipe.load(str(tmp_path / "again.yaml")).space.reference_path == (2, "skip", 2, 1, "skip")


@pytest.mark.parametrize(
    ("override", "setting", "value"),
    [
        ("seed=5", "seed", 5),
        ("name=mine", "name", "mine"),
        ("training.learning_rate=1e-3", "training.learning_rate", 1e-3),
        ("data.folder=photographs/of mine", "data.folder", "photographs/of mine"),
        ("data.folder=null", "data.folder", None),
        ("search.objectives=[ssim_y, params]", "search.objectives", ["ssim_y", "params"]),
        ("search.max.size_mb=1.5", "search.max.size_mb", 1.5),
        ("search.output_size=[256, 256]", "search.output_size", [256, 256]),
        (" search.evaluations.path =9", "search.evaluations.path", 9),
        ("space.widths.1=[8, 12]", "space.widths.1", [8, 12]),
    ],
)
def test_a_setting_is_changed_by_its_dotted_key(quick, override, setting, value):
    changed = recipe.flat(recipe.load("quick", (override,)).model_dump(mode="json"))
    assert changed[setting] == value
    others = recipe.flat(quick.model_dump(mode="json"))
    assert {k: v for k, v in changed.items() if k != setting} == {k: v for k, v in others.items() if k != setting}


def test_the_last_of_two_changes_counts():
    assert recipe.load("quick", ("seed=1", "seed=2")).seed == 2


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("foo", "--set 'foo' has no '='"),
        ("=5", "setting '' is unknown"),
        ("seed.x=1", "seed is a value, it holds no settings"),
        ("search.objectives.0=macs", "objectives is a value, it holds no settings"),
        ("name=a: b", "--set name is no YAML"),
        ("training.rounds=[3", "--set training.rounds is no YAML"),
        ("name=", "name is None"),
        ("nonsense.a=1", "setting 'nonsense' is unknown"),
        ("search.populaton=30", "setting 'search.populaton' is unknown; did you mean 'population'?"),
        ("space.n_cell=5", "setting 'space.n_cell' is unknown; did you mean 'n_cells'?"),
        ("space.operator=[residual]", "setting 'space.operator' is unknown; did you mean 'operators'?"),
        ("population=30", "setting 'population' is unknown; did you mean 'search.population'?"),
        ("training.rounds=many", "training.rounds is 'many'"),
        ("training.rounds=0", "training.rounds is 0; input should be greater than 0"),
        ("training.rounds=1.5", "training.rounds is 1.5"),
        ("training.rounds=null", "training.rounds is None"),
        ("training=5", "training is 5"),
        ("training.ema=1", "training.ema is 1; input should be less than 1"),
        ("training.stages=[path]", "['path'] is no order of trainings"),
        ("training.stages=[paths]", "training.stages.0 is 'paths'"),
        ("seed=-1", "seed is -1"),
        ("task.scale=5", "task.scale is 5; input should be 1, 2, 3, 4 or 8"),
        ("data.degradation.blurr.sigma=[1, 2]", "setting 'data.degradation.blurr' is unknown; did you mean 'blur'?"),
        ("data.degradation.noise.sigma=[9, 5]", "data.degradation.noise.sigma: [9.0, 5.0] is no range; name the least"),
        ("data.degradation.noise.sigma=[0, 5]", "data.degradation.noise.sigma.0 is 0; input should be greater than 0"),
        ("data.degradation.resize.factor=[1, 2]", "resize draws a factor in the first of two passes"),
        ("data.degradation={plugin: rain, times: 2}", "plugin rain takes the place of all steps; leave out the others"),
        ("task.name=colouring", "task.name is 'colouring'; there are super-resolution, translation"),
        ("task.name=[translation]", "task.name is ['translation']"),
        ("task=5", "task is 5"),
        ("task={scale: 4}", "setting 'task.name' is missing"),
        ("task={name: translation}", "setting 'data.patch' is unknown"),
        ("training.losses.l3=1", "setting 'training.losses.l3' is unknown"),
        ("finetune.phases=[{until: 0.5}]", "the phases end at [0.5]"),
        ("finetune.phases=[{until: 0.5}, {until: 0.4}, {until: 1}]", "the phases end at [0.5, 0.4, 1.0]"),
        ("training.losses.l1=0", "training.losses: no term has a weight above 0, so nothing would be learned"),
        ("finetune.phases=[{until: 1, losses: {l1: 0}}]", "finetune.phases.0.losses: no term has a weight above 0"),
        ("training.losses.l1=-1", "training.losses.l1 is -1"),
        ("training.discriminator.loss=wgan", "training.discriminator.loss is 'wgan'"),
        ("search.rescore=[macs]", "search.rescore names macs, which is no quality"),
        ("search.rescore=[fid_n0]", "metric 'fid_n0' is unknown"),
        ("search.rescore=[lpips_full]", "lpips_full is taken of final fronts alone"),
        ("space=5", "space is 5"),
        ("space.widths=[8]", "space.widths is [8]"),
        ("space.widths.x=[8]", "space.widths.x"),
        ("space.widths.1=[8, 10]", "widths of level 1 are [8, 10]"),
        ("space.widths={1: [8], 3: [8]}", "the levels of widths are [1, 3]"),
        ("space.n_cells=4", "reference_path has 5 cells, the space 4"),
        ("space.n_cells=some", "space.n_cells is 'some'"),
        ("space.operators=residual", "space.operators is 'residual'"),
        ("space.reference_operator=dance", "reference_operator 'dance' is not among"),
        ("space.reference_path=[2, 2]", "reference_path has 2 cells, the space 5"),
        ("space.reference_path=[1, 3, 3, 3, 3]", "reference_path [1, 3, 3, 3, 3] is no valid path"),
        ("space.inner_ratios=[0.5, 0.52]", "round to [4, 4]"),
        ("search.population=3", "search.population is 3"),
        ("search.output_size=[720]", "search.output_size"),
        ("search.max.macs=much", "search.max.macs is 'much'"),
        ("search.max.macs=.nan", "search.max.macs"),
        ("search.max.macs=.inf", "search.max.macs"),
        ("search.min.psnr_y=-.inf", "search.min.psnr_y"),
        ("training.learning_rate=.inf", "training.learning_rate"),
        ("search.objectives=[psnr_y, mac]", "metric 'mac' is unknown; there are psnr_y"),
        ("search.objectives=[psnr_y_full, macs]", "psnr_y_full"),
        ("search.objectives=[psnr_y]", "name at least two, each once"),
        ("search.objectives=[macs, psnr_y, macs]", "name at least two, each once"),
        ("search.max.mac=5", "metric 'mac' is unknown"),
        ("search={max: {macs: 1}, min: {macs: 2}, population: 4, evaluations: {path: 1, operator: 1, channel: 1}}",
         "macs can't be at least 2 and at most 1"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_refused_in_a_sentence_that_names_it(override, named):
    with pytest.raises(InputError) as caught:
        search = recipe.load("quick", (override,)).search
        search.metrics(), search.limits()
    assert named in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_losses_without_their_guide_keep_a_term():
    both = LossesSection(l1=0.5, distillation=1.0).untaught()
    assert (both.l1, both.distillation) == (0.5, 0.0)
    assert LossesSection(l1=0.0, spectrum=0.5, perceptual_distillation=1.0).untaught().in_words() == "0.5 spectrum"
    assert LossesSection(l1=0.0, distillation=1.0).untaught().in_words() == "1 l1"


@pytest.mark.parametrize("stages", ["[operator]", "[]", "[channel, operator]"])
def test_trainings_without_the_joint_one_are_refused_or_ask_for_it(stages, tmp_path):
    with pytest.raises(InputError, match="joint"):
        RunFolder(tmp_path, recipe.load("quick", (f"training.stages={stages}",))).weights_for("path")


@pytest.mark.parametrize("name", ["quik", "", "quick.yml.txt", "../quick"])
def test_an_unknown_recipe_is_named_with_the_known_ones(name):
    with pytest.raises(
        InputError, match=f"recipe '{name}' is unknown; there are edges2shoes, .*, quick, .*or give a .yaml file"
    ):
        recipe.load(name)


def test_a_file_that_isn_t_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"mine\.yaml does not exist"):
        recipe.load(str(tmp_path / "mine.yaml"))


def bomb(levels):
    """Ten aliases to ten aliases to ...: small to read, endless to print."""
    lines = ["a0: &a0 lol", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels + 1))]
    return "\n".join(lines)


ODD_FILES = {
    "empty": b"",
    "a list": b"- 1\n- 2\n",
    "a word": b"quick\n",
    "broken": b"name: [quick\n",
    "tabs": b"name:\n\t- quick\n",
    "no text": b"\x00\xff\xfe\x00\x80",
    "not UTF-8": b"name: caf\xe9\n",
    "a number as key": b"5: x\n",
    "nothing but a name": b"name: mine\n",
    "a bomb": bomb(6).encode() + b"\nname: *a6\n",
    "a bomb in a list": bomb(6).encode() + b"\ndata: {benchmarks: *a6}\n",
    "a snake that eats itself": b"name: &a [*a]\n",
    "a deep nest": b"name: " + b"[" * 5000 + b"]" * 5000,
    "a date": b"name: 2024-13-45\n",
}


@pytest.mark.parametrize("content", ODD_FILES.values(), ids=ODD_FILES)
def test_an_odd_file_is_refused_in_a_sentence_that_names_it(tmp_path, content):
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"odd\.yaml") as caught:
        recipe.load(str(path))
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)
    with pytest.raises(DamagedFileError, match=r"odd\.yaml is damaged"):
        recipe.load_run(path)


def test_a_file_that_asks_for_code_to_be_run_is_refused_and_nothing_is_run(tmp_path):
    (tmp_path / "odd.yaml").write_text(f"name: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(InputError, match=r"odd\.yaml is no YAML"):
        recipe.load(str(tmp_path / "odd.yaml"))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("objectives", "used"),
    [
        (["psnr_y", "macs"], ["psnr_y", "macs"]),
        (["macs", "psnr_y"], ["psnr_y", "macs"]),
        (["size_mb", "macs", "lpips", "psnr_y"], ["lpips", "macs", "size_mb", "psnr_y"]),
        (["lpips", "psnr_y", "macs", "size_mb"], ["lpips", "macs", "size_mb", "psnr_y"]),
    ],
)
def test_the_quality_named_first_decides_and_the_order_of_the_others_means_nothing(objectives, used):
    search = recipe.load("quick", (f"search.objectives={objectives}",)).search
    assert [o.name for o in search.metrics()] == used


def test_a_search_on_costs_alone_is_refused():
    with pytest.raises(InputError, match=r"\['macs', 'params'\], all of them costs; name a quality too"):
        recipe.load("quick", ("search.objectives=[macs, params]",)).search.metrics()


# -- changing a run's recipe -----------------------------------------------------------------------


def test_search_settings_may_change_after_training(quick):
    changed = recipe.changed(quick, ("search.max.size_mb=1.5", "search.evaluations.path=10"))
    assert changed.search.max == {"size_mb": 1.5} and changed.search.evaluations.path == 10
    assert changed.space == quick.space and changed.training == quick.training
    assert quick.search.max == {} and quick.first_difference(changed) is None
    assert recipe.changed(quick, ()) == quick


@pytest.mark.parametrize("override", ["training.rounds=5", "seed=1", "space.n_cells=4", "search=5", "name=x"])
def test_other_settings_may_not(quick, override):
    key = override.split("=")[0]
    with pytest.raises(InputError, match=rf"{key} was fixed when the supernet was trained; only search\.\*"):
        recipe.changed(quick, ("search.population=8", override))


def test_a_bad_change_is_refused(quick):
    with pytest.raises(InputError, match=r"--set: setting 'search\.populaton' is unknown"):
        recipe.changed(quick, ("search.populaton=8",))
    with pytest.raises(InputError, match="has no '='"):
        recipe.changed(quick, ("search.population",))


@pytest.mark.parametrize(
    ("setting", "value"),
    [("seed", 3), ("training.rounds", 7), ("space.widths.1", [8, 12]), ("data.folder", "mine"), ("task.scale", 2)],
)
def test_the_first_difference_names_the_setting(quick, setting, value):
    there = recipe.flat(quick.model_dump(mode="json"))[setting]
    difference = quick.first_difference(recipe.load("quick", (f"{setting}={value}",)))
    assert difference == f"{setting} is {there} there, {value} here"


def test_names_and_search_settings_make_no_difference(quick):
    assert quick.first_difference(recipe.load("quick", ("name=mine", "search.population=8"))) is None


def test_a_resolved_recipe_is_plain_yaml(quick):
    plain = yaml.safe_load(quick.to_yaml())
    assert plain["search"]["output_size"] == [720, 1280] and plain["training"]["ema"] == 0.999
