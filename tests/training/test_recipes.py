"""Recipes: each value of the protocol, and files that say what is wrong with them."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from nader.training import RECIPES, RecipeError, get_recipe, load_recipe
from nader.training.augment import padding_of
from nader.training.optimiser import Sgd

PROTOCOL = {
    "epochs": 200,
    "batch": 256,
    "lr": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "schedule": "cosine",
    "flip": 0.5,
    "precision": "fp32",
    "compile": False,
    "deterministic": True,
    "train_images": None,
    "validation_images": None,
}


@pytest.mark.parametrize(("field", "value"), PROTOCOL.items())
def test_the_benchmark_recipe_holds_each_value_of_the_protocol(field: str, value: object) -> None:
    assert getattr(get_recipe("nas-bench-201"), field) == value


def test_the_short_benchmark_recipe_differs_in_its_epochs_only() -> None:
    assert get_recipe("nas-bench-201-12").deviations() == {"epochs": (200, 12)}


@pytest.mark.parametrize(("side", "pad"), [(32, 4), (16, 2), (8, 1)])
def test_padding_is_the_protocols_at_each_size(side: int, pad: int) -> None:
    assert padding_of(get_recipe("nas-bench-201"), side) == pad


def test_the_built_optimiser_has_the_protocols_values_for_every_parameter() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    optimiser = Sgd(model.parameters(), get_recipe("nas-bench-201"))
    assert len(optimiser.parameters) == len(list(model.parameters()))
    names = ("lr", "momentum", "nesterov", "weight_decay", "dampening")
    values = {name: getattr(optimiser, name) for name in names}
    assert values == {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "dampening": 0}


@pytest.mark.parametrize("nesterov", [True, False])
def test_the_optimiser_is_torchs_bit_by_bit(nesterov: bool) -> None:
    recipe = get_recipe("nas-bench-201").model_copy(update={"nesterov": nesterov})
    torch.manual_seed(0)
    ours, theirs = (nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    unused = nn.Parameter(torch.ones(3))
    mine = Sgd([*ours.parameters(), unused], recipe)
    values = {name: getattr(recipe, name) for name in ("momentum", "weight_decay")}
    torchs = torch.optim.SGD(theirs.parameters(), lr=recipe.lr, nesterov=nesterov, **values)
    for epoch in range(6):
        mine.lr = torchs.param_groups[0]["lr"] = recipe.lr_at(40 * epoch)
        images = torch.randn(4, 1, 6, 6)
        for model, optimiser in ((ours, mine), (theirs, torchs)):
            optimiser.zero_grad()
            model(images).square().mean().backward()
            optimiser.step()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b) and torch.equal(
                mine.momentum_buffers[a], torchs.state[b]["momentum_buffer"]
            )
    assert torch.equal(unused, torch.ones(3))  # it never had a gradient, so no weight decay either


@pytest.mark.parametrize("name", ["nas-bench-201", "nas-bench-201-12"])
def test_the_schedule_is_torchs_cosine_to_zero_set_once_an_epoch(name: str) -> None:
    recipe = get_recipe(name)
    optimiser = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=recipe.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=recipe.epochs, eta_min=0)
    for epoch in range(recipe.epochs):
        assert math.isclose(recipe.lr_at(epoch), schedule.get_last_lr()[0], rel_tol=1e-9, abs_tol=1e-12)
        optimiser.step()
        schedule.step()
    assert recipe.lr_at(0) == 0.1
    assert math.isclose(recipe.lr_at(recipe.epochs), 0, abs_tol=1e-12)


def test_a_fast_variant_names_its_deviations() -> None:
    recipe = get_recipe("nas-bench-201-fast")
    assert recipe.deviates_from == "nas-bench-201"
    assert recipe.deviations() == {
        "precision": ("fp32", "bf16"),
        "channels_last": (False, True),
        "compile": (False, True),
        "deterministic": (True, False),
    }


def test_every_shipped_recipe_loads_and_has_a_digest_of_its_own() -> None:
    digests = {get_recipe(name).digest for name in RECIPES}
    assert len(digests) == len(RECIPES) >= 6


@pytest.mark.parametrize(
    ("field", "value"), [("checkpoint_every", 3), ("evaluate_every", 7), ("name", "mine")]
)
def test_what_cannot_change_a_result_is_not_in_the_digest(field: str, value: object) -> None:
    recipe = get_recipe("digits")
    assert recipe.model_copy(update={field: value}).digest == recipe.digest


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", 3), ("lr", 0.2), ("precision", "bf16"), ("train_images", 50)]
)
def test_what_can_change_a_result_changes_the_digest(field: str, value: object) -> None:
    recipe = get_recipe("digits")
    assert recipe.model_copy(update={field: value}).digest != recipe.digest


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epoch = 3", "Recipe 'mine' has an unknown key 'epoch'; did you mean 'epochs'?"),
        ("epochs = 3", "Recipe 'mine', key 'batch': Field required."),
        (
            'deviates_from = "digits"\nepochs = "many"',
            "Recipe 'mine', key 'epochs': Input should be a valid integer",
        ),
        ("epochs = = 3", "Recipe 'mine' is not TOML"),
        ('deviates_from = "digit"', "There is no recipe 'digit'; did you mean 'digits'?"),
        ("deviates_from = 3", "Recipe 'mine', key 'deviates_from': it takes the name of a recipe."),
        ('deviates_from = ["x"]', "Recipe 'mine', key 'deviates_from': it takes the name of a recipe."),
        ('deviates_from = "digits"\nlr = inf', "Recipe 'mine', key 'lr': Input should be a finite number."),
        (
            'deviates_from = "digits"\nflip = nan',
            "Recipe 'mine', key 'flip': Input should be a finite number",
        ),
        (
            'deviates_from = "digits"\nmomentum = 0',
            "Recipe 'mine', key 'nesterov': Nesterov's step needs a momentum above 0.",
        ),
    ],
)
def test_a_wrong_recipe_file_is_told_by_key(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path / "mine.toml")
    assert str(caught.value).startswith(sentence)


def test_a_recipe_file_that_is_no_text_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"Recipe 'mine' is not TOML: it is not UTF-8 text\."):
        load_recipe(tmp_path / "mine.toml")


def test_without_momentum_a_recipe_needs_no_nesterov(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('deviates_from = "digits"\nmomentum = 0\nnesterov = false\n')
    assert load_recipe(tmp_path / "mine.toml").momentum == 0


def test_a_users_recipe_takes_what_it_does_not_say_from_the_one_it_deviates_from(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('deviates_from = "nas-bench-201"\nepochs = 20\n')
    recipe = load_recipe(tmp_path / "mine.toml")
    assert (recipe.name, recipe.epochs, recipe.lr, recipe.batch) == ("mine", 20, 0.1, 256)
    assert load_recipe("digits") == get_recipe("digits")
