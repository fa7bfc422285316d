"""Pictures of sensitivities of all shapes."""

import dataclasses

import pytest

from axopt.sensitivities import Sensitivity
from axopt.sensitivities.pictures import bar_chart, heat_map


def made_up(sizes, names=None):
    options = tuple(tuple(f"v1/m{n}" for n in range(size)) for size in sizes)
    values = tuple(tuple(0.01 * n * n for n in range(size)) for size in sizes)
    names = names or tuple(f"layer{n}" for n in range(len(sizes)))
    return Sensitivity(
        names=names,
        layers=tuple((name,) for name in names),
        options=options,
        values=values,
        qualities=None,
        around="exact",
        base=("v1/m0",) * len(sizes),
        base_value=0.0,
        base_quality=90.0,
        exact_quality=90.0,
        reference="v1/m0",
        objective="divergence",
        metric="top1",
        unit="%",
        higher_is_better=True,
        method="gradient",
        samples=10,
        sample_layers=100,
        evaluations=5.0,
    )


@pytest.mark.parametrize(
    "found",
    [
        made_up((3, 3)),
        made_up((1,)),
        made_up((4, 2, 20)),
        made_up((2, 2), names=("$a_b$ \u4e2d", "x" * 100)),
        dataclasses.replace(made_up((2,)), values=((0.0, 0.0),)),
        dataclasses.replace(made_up((2,)), values=((0.0, 1e-300),)),
    ],
    ids=["plain", "one cell", "unequal", "odd names", "all zero", "tiny"],
)
def test_any_result_is_drawn_the_same_each_time(found):
    for draw in (heat_map, bar_chart):
        picture = draw(found)
        assert picture.startswith(b"\x89PNG")
        assert picture == draw(found)


def test_results_of_many_layers_are_drawn_in_part():
    many = made_up((2,) * 130)
    assert len(heat_map(many)) < 2_000_000
