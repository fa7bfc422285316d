from axopt.exploration import State, Trial, hypervolume
from axopt.study.thinning import thinned


def front_of(points):
    return [
        Trial(number, (number,), State.COMPLETE, values, {}, None, 0.0)
        for number, values in enumerate(points)
    ]


def test_the_points_that_keep_most_of_the_hypervolume_are_reported():
    front = front_of([(0.0, 1.0), (0.1, 0.5), (0.11, 0.49), (0.12, 0.48), (0.6, 0.2), (1.0, 0.1)])
    kept, notes = thinned(front, 4)
    assert [trial.number for trial in kept] == [0, 3, 4, 5]
    assert notes == [
        "4 of the 6 points of the front are reported, those that keep most of its hypervolume."
    ]
    whole = hypervolume([trial.objectives for trial in front], (1.05, 1.045))
    assert hypervolume([trial.objectives for trial in kept], (1.05, 1.045)) > 0.98 * whole


def test_a_short_front_stays_whole():
    front = front_of([(0.0, 1.0), (1.0, 0.0)])
    for most in (None, 2, 5):
        assert thinned(front, most) == (front, [])
    assert [trial.number for trial in thinned(front_of([(0.0, 1.0)]), 2)[0]] == [0]
    equal = front_of([(0.0, 0.5), (0.0, 0.5), (0.0, 0.5)])
    assert len(thinned(equal, 2)[0]) >= 1
