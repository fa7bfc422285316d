import numpy as np
import pytest

from axopt.exploration import State, Trial, VolumeHistory, hypervolume


@pytest.mark.parametrize("width", [2, 3])
def test_history_equals_the_hypervolume_of_all_trials_so_far(width):
    points = np.random.default_rng(width).random((40, width)) * 1.3
    corner = (1.0,) * width
    states = [State.FAILED if i % 7 == 3 else State.COMPLETE for i in range(len(points))]
    states[5] = State.PRUNED
    trials = [
        Trial(i, (i,), state, () if state is State.FAILED else tuple(point), {}, None, 0.1)
        for i, (point, state) in enumerate(zip(points, states, strict=True))
    ]
    history = VolumeHistory(corner, trials[:10])
    for trial in trials[10:]:
        assert history.add(trial) == history.values[-1]
    complete = np.array([state is State.COMPLETE for state in states])
    for n, value in enumerate(history.values, start=1):
        kept = points[:n][complete[:n]]
        assert value == pytest.approx(hypervolume(kept, corner), rel=1e-12)
    assert history.values == sorted(history.values)
    assert history.values[-1] > 0
