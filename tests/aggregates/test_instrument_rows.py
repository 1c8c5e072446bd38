import numpy as np
import pandas as pd
import pytest

from signal_assets.aggregates.instrument_rows import instrument_rows, integers, text


@pytest.mark.parametrize("dtype", ["str", object])
def test_rows_lying_together_are_a_slice_and_others_an_index(dtype):
    frame = pd.DataFrame({"instrument": pd.Series(["A", "B", "B", "A"], dtype=dtype), "time": [4, 2, 3, 1]})
    assert instrument_rows(frame, "B") == slice(1, 3)
    np.testing.assert_array_equal(instrument_rows(frame, "A"), [0, 3])
    assert instrument_rows(frame, "C") == slice(0, 0)
    assert integers(frame, "time", instrument_rows(frame, "A", "time")).tolist() == [1, 4]
    assert integers(frame, "time", instrument_rows(frame, "B", "time")).tolist() == [2, 3]


def test_text_has_the_dtype_of_the_tables():
    column = pd.Series(text(["bid", "ask"], np.array([1, 0, 1])))
    pd.testing.assert_series_equal(column, pd.Series(["ask", "bid", "ask"], dtype="str"))
