import subprocess
import sys

import pytest

from signal_assets import levels


def test_every_public_name_is_there_and_no_other():
    for name in levels.__all__:
        assert getattr(levels, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'detect_everything'"):
        _ = levels.detect_everything


def test_reading_a_table_does_not_load_the_compiled_kernels():
    code = "import sys, signal_assets.levels.tables; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
