"""Compiled steps: numba with an explicit signature, a cache on disk and no fast mathematics.

Belongs here: the one way in which a kernel is compiled, and what kernels need that numba does not have. Does not belong
here: any kernel.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Step = TypeVar("Step", bound=Callable[..., Any])

raw_memmove: Any = cgutils.raw_memmove

KINDS: Final[dict[str, Any]] = {
    "integer": types.int64,
    "real": types.float64,
    "flag": types.boolean,
    # What is only read: columns of a frame are read-only views, possibly with a stride.
    "integers": types.Array(types.int64, 1, "A", readonly=True),
    "reals": types.Array(types.float64, 1, "A", readonly=True),
    "flags": types.Array(types.boolean, 1, "A", readonly=True),
    # What is written to, or new.
    "own integers": types.Array(types.int64, 1, "C"),
    "own reals": types.Array(types.float64, 1, "C"),
    "own real rows": types.Array(types.float64, 2, "C"),
    "text": types.Bytes(types.uint8, 1, "C"),
}


def compiled(takes: str, returns: str) -> Callable[[Step], Step]:
    """Compile a step for one signature; the interpreted function stays reachable as ``step.py_func``.

    The signature is explicit, so nothing compiles at the first call; the cache keeps a new process from compiling
    again; without fast mathematics floating-point additions keep their written order, hence the same bits in every
    lane.

    Parameters
    ----------
    takes, returns : str
        Names of KINDS, separated by commas; several returns are a tuple.
    """
    taken = [KINDS[name.strip()] for name in takes.split(",")]
    returned = [KINDS[name.strip()] for name in returns.split(",")]
    make_tuple: Any = types.Tuple
    signature = (returned[0] if len(returned) == 1 else make_tuple(returned))(*taken)
    return cast(Callable[[Step], Step], njit(signature, cache=True, fastmath=False))


def _move_within(_: Any, array: Any, target: Any, source: Any, count: Any) -> Any:
    """Inside a compiled step: move ``count`` elements of a contiguous array to ``target``; the ranges may overlap.

    One ``memmove``, where a loop moves one element at a time and a slice assignment copies twice. Positions are not
    checked, as nowhere in compiled code.
    """

    def move(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, *numbers = arguments
        data = context.make_array(signature.args[0])(context, builder, values).data
        to, begin = (builder.gep(data, [number]) for number in numbers[:2])
        raw_memmove(builder, to, begin, numbers[2], array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64, types.int64), move


move_within: Any = intrinsic(_move_within)
