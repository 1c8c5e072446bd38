import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from signal_assets.levels.medians import CELLS, median_of, median_of_nine, middle_of_nine, ranked, running_median

VOLUMES = st.integers(0, 10**9).map(lambda thousandths: thousandths / 1_024)
"""Not any float: the cells of a row that differs by a few last digits cannot be told apart."""
ROWS = st.lists(VOLUMES, min_size=1, max_size=80).map(np.array)


@given(ROWS, st.integers(0, 90))
def test_the_running_median_is_numpys_to_a_cell(row, reach):
    found = running_median(row, reach)
    cell = (row.max() - row.min()) / CELLS
    for i in range(len(row)):
        near = np.sort(row[max(0, i - reach) : i + reach + 1])
        # Between the two middle values of an even number any point is a median.
        low, high = near[(len(near) - 1) // 2], near[len(near) // 2]
        assert low - 1.001 * cell <= found[i] <= high + 1.001 * cell


@given(ROWS)
def test_the_median_of_nine_is_the_running_median_of_reach_four(row):
    assert median_of_nine(row).tolist() == running_median(row, 4).tolist()
    assert median_of_nine.py_func(row).tolist() == running_median(row, 4).tolist()


@given(st.lists(st.integers(-3, 3) | st.integers(-(2**40), 2**40), min_size=9, max_size=40))
def test_the_middle_of_nine_is_the_fifth_by_size(values):
    found = middle_of_nine(np.array(values, np.int64)).tolist()
    assert found == [sorted(values[i : i + 9])[4] for i in range(len(values) - 8)]


@given(st.lists(st.integers(-3, 3).map(float) | st.floats(-1e9, 1e9), min_size=1, max_size=60), st.data())
def test_ranks_and_medians_are_those_of_the_sorted_values(values, data):
    rank = data.draw(st.integers(0, len(values) - 1))
    assert ranked(np.array(values), rank) == sorted(values)[rank]
    assert median_of(np.array(values)) == np.median(values)
    assert ranked.py_func(np.array(values), rank) == ranked(np.array(values), rank)


@given(ROWS, st.integers(0, 90))
def test_interpreted_and_compiled_steps_agree(row, reach):
    np.testing.assert_array_equal(running_median(row, reach), running_median.py_func(row, reach))
