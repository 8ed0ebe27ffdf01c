"""Registries: names, what is said of one that is not there, and the order of phases."""

import dataclasses
import importlib

import numpy as np
import pytest

from t2igan import nets
from t2igan.config.checks import check
from t2igan.config.registry import Registry
from t2igan.errors import UserError
from t2igan.evaluation.extractors import EXTRACTORS
from t2igan.method import phases
from t2igan.method.losses import ADVERSARIAL, PENALTIES
from t2igan.method.optim.optimizers import OPTIMIZERS
from t2igan.method.optim.schedules import SCHEDULES
from t2igan.method.phases import PHASES, PhaseKind
from t2igan.method.phases.base import PhaseRegistry
from t2igan.method.techniques.augment import AUGMENTATIONS
from t2igan.method.techniques.masks import MASKS
from t2igan.method.techniques.regularize import NORMALISATIONS
from t2igan.nets.autoencoder import PatchComponents
from t2igan.training import plan
from t2igan.training import space as spaces
from t2igan.training.distributed import parallel

OF_ONE = (
    *(ADVERSARIAL, PENALTIES, OPTIMIZERS, NORMALISATIONS, SCHEDULES),
    *(nets.GENERATORS, nets.DISCRIMINATORS, nets.TEXT_ENCODERS, nets.IMAGE_ENCODERS, nets.INVERTERS),
    nets.SPACES,
)
OF_SEVERAL = (AUGMENTATIONS, MASKS, PHASES)


@pytest.fixture
def colours():
    registry = Registry("colour", key="sky.colour")
    registry.register("blue", "#00f")
    registry.register("grey", "#888")
    return registry


def test_a_registry_is_a_mapping_in_order(colours):
    assert list(colours) == ["blue", "grey"] and colours.names() == ("blue", "grey") and len(colours) == 2
    assert dict(colours) == {"blue": "#00f", "grey": "#888"} and "blue" in colours and 3 not in colours
    assert colours.get("red") is None


def test_a_decorator_gives_the_function_back():
    registry = Registry("greeting")

    @registry.register("hello")
    def hello():
        return "hello"

    assert registry["hello"] is hello and hello() == "hello"


@pytest.mark.parametrize("name", ["bleu", 3, ("blue",), ""])
def test_a_name_that_is_not_there_is_said_with_its_key(colours, name):
    with pytest.raises(UserError, match=r"config\.sky\.colour=.* is none of 'blue', 'grey'") as error:
        colours.find(name)
    assert repr(name) in str(error.value)
    if name == "bleu":
        assert "did you mean 'blue'?" in str(error.value)
    with pytest.raises(UserError, match=r"config\.sea\.colour"):
        colours.find(name, "sea.colour")
    with pytest.raises(UserError, match=r"config\.sky\.colour has .* There are 'blue', 'grey'"):
        colours.check(["blue", name])


def test_a_name_is_taken_once(colours):
    colours.register("blue", colours["blue"])  # the same again, as when a file is imported twice
    with pytest.raises(UserError, match=r"already a colour 'blue' .*choose another"):
        colours.register("blue", "#00e")
    assert colours["blue"] == "#00f"
    for name in ("", "  "):
        with pytest.raises(UserError, match="must be a word"):
            colours.register(name, "#fff")


@pytest.mark.parametrize("registry", OF_ONE, ids=lambda registry: registry.key)
def test_whatever_is_registered_can_be_chosen_and_nothing_else(config, registry):
    group, key = registry.key.split(".")
    config[group][key] = "nonsense"
    with pytest.raises(UserError, match=rf"config\.{group}\.{key}='nonsense' is none of '{registry.names()[0]}'"):
        check(config)


@pytest.mark.parametrize("registry", OF_SEVERAL, ids=lambda registry: registry.key)
def test_lists_hold_registered_names_only(config, registry):
    config.update_from_flattened_dict({registry.key: (registry.names()[0], "nonsense")})
    with pytest.raises(UserError, match=rf"config\.{registry.key} has 'nonsense'"):
        check(config)


@pytest.mark.parametrize("section", [section for section, _ in nets.ROLES.values()])
def test_networks_of_an_unknown_kind_are_never_built(config, section):
    """As those of a snapshot, whose configuration nobody checks again."""
    config[section].kind = "nonsense"
    with pytest.raises(UserError, match=rf"config\.{section}\.kind='nonsense'"):
        nets.build(config, 40)


def test_the_best_metric_may_be_of_any_extractor(config):
    for name in EXTRACTORS:
        config.checkpoint.best_metric = f"frechet_distance/{name}"
        check(config)
    config.checkpoint.best_metric = "frechet_distance/pixel"
    with pytest.raises(
        UserError, match=r"best_metric='frechet_distance/pixel'.*did you mean 'frechet_distance/pixels'"
    ):
        check(config)


def kind(**settings):
    return PhaseKind("train", lambda run, given: None, **settings)  # noqa: ARG005


def test_phases_come_in_the_order_that_they_ask_for():
    registry = PhaseRegistry("phase", key="phases")
    for name, place in {"c": {"after": ("b",)}, "a": {}, "b": {"after": ("a", "not there")}, "d": {}}.items():
        registry.register(name, kind(**place))
    assert registry.names() == ("a", "b", "c", "d")
    registry.register("first", kind(before=("a",)))
    registry.register("between", kind(after=("a",), before=("b",)))
    assert registry.names() == ("d", "first", "a", "between", "b", "c")
    assert registry.earlier("c") == {"first", "a", "between", "b"} and registry.earlier("d") == set()
    with pytest.raises(UserError, match="each to come after another"):
        registry.register("never", kind(after=("c",), before=("a",)))
    assert "never" not in registry and registry.names()[-1] == "c"


def test_the_phases_of_the_package_have_one_order():
    order = ("text", "generator", "discriminator", "adversarial", "text_matching", "joint")
    assert tuple(name for name in PHASES.names() if name in order) == order
    assert all(PHASES.earlier(name) >= set(order[:i]) for i, name in enumerate(order))


def test_needs_are_what_earlier_phases_teach(config):
    config.phases = ("text", "generator", "discriminator", "text_matching")
    assert phases.missing_networks(config) == {}
    config.phases = ("generator", "text_matching")
    assert phases.missing_networks(config) == {"text_matching": ("text", "discriminator", "image", "matching")}
    config.loss.cycle_weight = 1.0
    config.phases = ("adversarial",)
    assert phases.missing_networks(config) == {"adversarial": ("image", "matching")}


@pytest.fixture
def registered():
    """Registers what is taken out again after the test."""
    added = []

    def register(registry, name, thing, **traits):
        registry.register(name, thing, **traits)
        added.append((registry, name))

    yield register
    for registry, name in added:
        registry.unregister(name)


def run_of(config):
    return dataclasses.replace(plan._run_without_data(config, parallel.make_mesh(1)), config=config)


@pytest.mark.parametrize("traits", [{}, {"square_of_gradient": True}, {"float32_only": True}])
def test_what_a_penalty_of_one_s_own_can_do_is_registered_with_it(config, registered, traits):
    registered(PENALTIES, "mine", lambda *_: None, **traits)
    config.loss.penalty = "mine"
    check(config)
    config.compute_dtype = "bfloat16"
    if traits.get("float32_only"):
        with pytest.raises(UserError, match=r"config\.loss\.penalty='mine' with .*'bfloat16' measures rounding"):
            check(config)
    else:
        check(config)
    config.compute_dtype = "float32"
    with config.ignore_type():
        config.loss.update(penalty_weight="auto", penalty_weight_end="auto")
    if traits.get("square_of_gradient"):
        check(config)
    else:
        with pytest.raises(UserError, match=r"'auto' is for 'r1', 'r2', .*config\.loss\.penalty='mine'; give a number"):
            check(config)


def test_a_phase_of_one_s_own_reads_weights_that_follow_from_the_data(config, registered, monkeypatch):
    registered(PHASES, "reads", kind(auto=("loss.paired_weight",)))
    registered(PHASES, "does_not", kind())
    with config.ignore_type(), config.unlocked():
        config.loss.paired_weight = "auto"
        config.phases = ("reads", "does_not")
    run = run_of(config)
    monkeypatch.setattr(spaces.automatic, "total_variance", lambda _: 1_379.0)
    assert spaces.settled(run, "reads").loss.paired_weight > 0
    assert spaces.settled(run, "does_not").loss.paired_weight == "auto"


def parts(section, common):
    return PatchComponents(common.image_channels, section.factor, section.channels)


def test_a_space_of_one_s_own_is_computed_from_the_pictures(config, registered, tmp_path):
    seen = []

    def fit(images, section):
        seen.append(images.shape)
        return {"params": {"scale": np.full(section.channels, 2.0, np.float32)}}

    registered(nets.SPACES, "parts", nets.SpaceKind(parts, fit=fit))
    config.space.update(kind="parts", factor=2, channels=6)
    config.generator.base_px = config.generator.base_px // 2
    check(config)
    assert nets.game_size_px(config) == config.data.image_size_px // 2
    run = dataclasses.replace(run_of(config), workdir=tmp_path)
    for _ in range(2):  # the second time it lies there
        found = spaces.fitted(run, {})
        np.testing.assert_array_equal(found["space"]["params"]["scale"], np.full(6, 2.0))
    assert seen == [(2, 16, 16, 3)]
    config.phases = ("autoencoder", *config.phases)
    with pytest.raises(UserError, match=r"'parts' has nothing to learn; .* set the kind to 'autoencoder'"):
        check(config)


def test_a_space_of_one_s_own_is_learned_in_a_phase_of_one_s_own(config, registered):
    registered(nets.SPACES, "parts", nets.SpaceKind(parts, learns=True))
    config.space.update(kind="parts", factor=2, channels=6)
    config.generator.base_px = config.generator.base_px // 2
    with pytest.raises(UserError, match=r"config\.space\.kind='parts' wants the phase 'autoencoder'"):
        check(config)
    registered(PHASES, "learn_parts", kind(trains=lambda _: ("space",)))
    with pytest.raises(UserError, match="wants the phase 'autoencoder', 'learn_parts'"):
        check(config)
    config.phases = ("learn_parts",)
    check(config)
    run = run_of(config)
    assert spaces.training_data(run, "learn_parts") is run.train_data  # pictures, not codes
    assert spaces.at_hand(run, "learn_parts", {}) == {}


def test_data_is_checked_without_jax():
    import subprocess
    import sys

    code = "import sys; from t2igan.data import check_data; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "flax", "optax"} & set(done.stdout.split())


def test_the_method_stays_importable_from_its_page():
    step = importlib.import_module("t2igan.step")
    assert all(hasattr(step, name) for name in ("Method", "State", "init_state", "train_step"))
