"""Skeletons are data: what they say of themselves, and where blocks stand in them."""

import subprocess
import sys

import pytest

from nader.graph import Role
from nader.network import SKELETONS, Limits, NetworkError, Skeleton, SkeletonError, get_skeleton, sites_of


def test_the_skeletons_of_the_paper_and_the_small_ones_exist():
    assert set(SKELETONS) >= {
        "nas-bench-201", "nas-bench-201-16", "nader", "digits", "fashion-mnist", "imagenet",
    }  # fmt: skip
    skeleton = get_skeleton("nas-bench-201")
    assert skeleton.cells == (5, 5, 5)
    assert skeleton.channels(16) == (16, 32, 64)
    assert skeleton.sides() == ((32, 32), (16, 16), (8, 8))
    assert skeleton.limits == Limits(params=1_500_000, macs=200_000_000)
    assert get_skeleton("nas-bench-201-16").limits.macs == 50_000_000
    assert get_skeleton("imagenet").cells == (3, 3, 9, 3)
    assert get_skeleton("imagenet").sides()[0] == (56, 56)


def test_an_unknown_skeleton_is_named_with_those_that_exist():
    with pytest.raises(SkeletonError, match=r"no skeleton is called 'resnet'; there are nas-bench-201, "):
        get_skeleton("resnet")
    assert issubclass(SkeletonError, NetworkError)


def test_sites_follow_the_width_and_the_stage():
    skeleton = get_skeleton("nas-bench-201")
    (stem,) = sites_of(skeleton, Role.STEM, 20)
    assert (stem.C, stem.dim, stem.H, stem.W, stem.stride) == (3, 20, 32, 32, 1)
    cells = sites_of(skeleton, Role.CELL, 20)
    assert [(site.C, site.dim, site.H) for site in cells] == [(20, 20, 32), (40, 40, 16), (80, 80, 8)]
    downs = sites_of(skeleton, Role.DOWNSAMPLE, 20)
    assert [(site.C, site.dim, site.H) for site in downs] == [(20, 40, 32), (40, 80, 16)]
    (stem,) = sites_of(get_skeleton("imagenet"), Role.STEM, 64)
    assert (stem.stride, stem.output_shape) == (4, (64, 56, 56))


@pytest.mark.parametrize("name", SKELETONS)
def test_each_stage_goes_on_where_the_one_before_ends(name):
    skeleton = get_skeleton(name)
    for width in skeleton.widths.all():
        (stem,), cells = sites_of(skeleton, Role.STEM, width), sites_of(skeleton, Role.CELL, width)
        downs = sites_of(skeleton, Role.DOWNSAMPLE, width)
        shapes = [stem.output_shape, *(site.output_shape for site in downs)]
        assert shapes == [(site.C, site.H, site.W) for site in cells]
        assert [(site.C, site.H, site.W) for site in downs] == shapes[:-1]


def test_a_skeleton_takes_other_images_and_says_which_it_cannot():
    skeleton = get_skeleton("nas-bench-201").for_image(1, 28, 28)
    assert skeleton.image.channels == 1
    assert skeleton.sides() == ((28, 28), (14, 14), (7, 7))
    with pytest.raises(
        SkeletonError, match=r"divides the sides of an image by 4, and 30 is not.*pad the images to 32"
    ):
        get_skeleton("nas-bench-201").for_image(3, 30, 30)
    with pytest.raises(SkeletonError, match="channels"):
        get_skeleton("nas-bench-201").for_image(0, 32, 32)
    assert get_skeleton("nas-bench-201").with_cells(1).cells == (1, 1, 1)


def test_a_skeleton_survives_json():
    for skeleton in SKELETONS.values():
        assert Skeleton.model_validate_json(skeleton.model_dump_json()) == skeleton
        assert hash(Skeleton.model_validate_json(skeleton.model_dump_json())) == hash(skeleton)


def test_a_misspelt_or_senseless_skeleton_is_refused():
    good = get_skeleton("digits").model_dump()
    for change, message in (
        ({"cell": (1, 1, 1)}, "extra"),
        ({"cells": (1, 1)}, "2 stages of cells but 3 multipliers"),
        ({"widths": {"smallest": 8, "largest": 4, "step": 4}}, "below the smallest"),
        ({"head": "linear"}, "head"),
        ({"cells": (1, 0, 1)}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Skeleton.model_validate(good | change)


def test_importing_the_package_needs_no_torch():
    code = "import sys, nader.network; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
