"""The compiled steps of the novelty detector.

Belongs here: everything numba compiles for it, in one file, as its cache does not notice a change of a function that
stands in another; and the layout of what it remembers. Does not belong here: what it is, and why
(``novelty_detector``).

Every array is of float64. A **pool** is one array: how many values it holds, the place of the oldest, values in order
of arrival, values ascending. The **memory** of a detector is one too: the numbers named below, the newest fifty values,
the half-hour means of earlier days, then the pools: of the features, of each source's distances, of the evidence, of
the jumps.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from signal_assets.compiled import compiled, move_within

Reals = NDArray[np.float64]
Features = tuple[float, float, float, float, float]
Judgement = tuple[float, float, float, float, float, float]
Vote = tuple[float, float, float]

SHORT: Final = 5
MIDDLE: Final = 10
RECENT: Final = 50
"""Values the means run over; so many of the newest are remembered."""
DAYS: Final = 15
"""Days remembered, today included."""
PARTS: Final = 48
"""Half hours of a day."""
PART: Final = 1_800_000_000
FEATURES: Final = 5
"""Value, residual, means over the newest 5, 10 and 50 values."""
SOURCES: Final = FEATURES + 2
"""Of evidence: the features' novelties, the step from the value before, earlier days."""
SAID, JUMPS = FEATURES + SOURCES, FEATURES + SOURCES + 1
"""The pools after those of the features and the sources: what the sources said together, jumps."""
POOLS: Final = JUMPS + 1

CACHE_LINE: Final = 8
"""Numbers of 64 bits in a cache line of 64 bytes; another size costs time, nothing else."""

SEEN, AVERAGE, SMOOTHED, HABIT, QUIET, NEWEST_DAY, NEWEST_TIME, SPACING, ALERTED, JUMP_QUIET, BURDEN, STREAK = range(12)
RECENT_AT: Final = 12
DAYS_AT: Final = RECENT_AT + RECENT
POOLS_AT: Final = DAYS_AT + DAYS * (1 + 2 * PARTS)
"""Of each day: its number, then the sums of its half hours, then how many values."""

SLOWNESS: Final = 0.02
"""Weight of the newest value in the average."""
ATTACK: Final = 0.5
"""Weight of the newest evidence."""
POWER: Final = 3.0
"""Of the mean over sources: 1 is the plain mean, ∞ the loudest source alone."""
TAIL: Final = 0.05
"""Share of a pool that counts as its tail."""
PRIOR: Final = 5.0
"""Exceedances that are believed before any was seen."""
HEAVIEST: Final = 0.9
"""Greatest shape of a tail: beyond it its mean would soon not exist."""
FURTHEST: Final = 12.0
"""Greatest -log10 of a probability."""
OUTSIDE: Final = 0.01
"""Share of the residuals that lies outside the expected band."""
JUDGED: Final = 6
"""Numbers a judgement is made of."""
NEVER: Final = 1e9
"""Values since the last vote, where there was none."""
LARGEST: Final = 1e100
"""Greatest value that is one here. Distances of greater ones, their squares and sums need not be finite, and a pool
that holds NaN is in no order: places in it would lie outside it, which compiled code does not notice."""
SCALE_FLOOR: Final = 1e-3
"""Least scale of a tail, as a share of the pool's range."""

EDGE, MIDWAY, FAR = 0.9, 0.98, 0.996
"""Quantiles through which the tail of the jumps is laid; above each lies a fifth of what lies above the one before."""
JUMP_PRIOR: Final = 20.0
"""Jumps beyond FAR that are believed to fall exponentially before any was seen."""
LEAST_SCALE: Final = 0.1
"""Of the tail of the jumps, as a share of the quantile EDGE."""
STRANGE: Final = 2.75
"""Evidence from which a jump is not remembered."""
LASTING: Final = 300.0
"""So many strange values, and no two others between them, are the new usual."""
OFTEN: Final = 3.0
"""Burden at which jumps are remembered as they are."""
WEIGHT: Final = 0.15
"""How much evidence a jump needs more for each of the burden."""
LIGHTER: Final = 0.5 ** (1 / 1_440)
"""Share of the burden that is left a value later."""

ALIKE_EVIDENCE: Final = 300_000_000.0
ALIKE_JUMPS: Final = 60_000_000.0
"""Where values come faster than this, µs, more is asked of each so that a day has no more alerts."""
MOST_MORE: Final = 2.0


@compiled(takes="own reals, real", returns="integer")
def place(ascending: Reals, value: float) -> int:
    """How many values of an array in ascending order lie below ``value`` (compiled)."""
    low, width = 0, ascending.size
    while width > 0:
        half = width // 2
        if ascending[low + half] < value:
            low += half + 1
            width -= half + 1
        else:
            width = half
    return low


@compiled(takes="own reals, real", returns="integer")
def join(pool: Reals, value: float) -> int:
    """Put a value in the place of the oldest, or beside the others while there is room; returns how many (compiled)."""
    size = (pool.size - 2) // 2
    count, oldest = int(pool[0]), 2 + int(pool[1])
    ordered = pool[2 + size :]
    if count == size:
        gone = place(ordered, pool[oldest])
        at = place(ordered, value)
        if at > gone:
            at -= 1
            move_within(ordered, gone, gone + 1, at - gone)
        else:
            move_within(ordered, at + 1, at, gone - at)
    else:
        at = place(ordered[:count], value)
        move_within(ordered, at + 1, at, count - at)
        count += 1
        pool[0] = count
    ordered[at] = value
    pool[oldest] = value
    pool[1] = (pool[1] + 1) % size
    return count


@compiled(takes="own reals, real", returns="real")
def novelty(pool: Reals, value: float) -> float:
    """Distance from the nearest value of a pool that is not empty (compiled)."""
    size, count = (pool.size - 2) // 2, int(pool[0])
    ordered = pool[2 + size : 2 + size + count]
    i = place(ordered, value)
    nearest = math.inf
    if i < count:
        nearest = ordered[i] - value
    if i > 0:
        nearest = min(nearest, value - ordered[i - 1])
    return float(nearest)


@compiled(takes="own reals, real", returns="real")
def rarity(pool: Reals, value: float) -> float:
    """-log10 of the probability of a value so great or greater, by a pool of at least 20 values (compiled).

    Within the bulk it is the share of the pool above; beyond the quantile 1 - TAIL a generalized Pareto tail, fitted by
    its first two moments, with PRIOR exceedances of an exponential tail that goes on as the bulk falls.
    """
    size, count = (pool.size - 2) // 2, int(pool[0])
    ordered = pool[2 + size : 2 + size + count]
    first = min(int(count * (1.0 - TAIL)), count - 2)
    edge = ordered[first]
    if value <= edge:
        lower = place(ordered, value)
        upper = np.searchsorted(ordered, value, side="right")
        return -math.log10(1.0 - 0.5 * (lower + upper) / (count + 1.0))
    total = 0.0
    for i in range(first, count):
        total += ordered[i] - edge
    exceedances = count - first
    centre = total / exceedances
    squares = 0.0
    for i in range(first, count):
        squares += (ordered[i] - edge - centre) ** 2
    floor = SCALE_FLOOR * (ordered[count - 1] - ordered[0]) + 1e-150
    believed = max((edge - ordered[count // 2]) / math.log(0.5 / TAIL), floor)
    mean = (total + PRIOR * believed) / (exceedances + PRIOR)
    variance = (squares + PRIOR * believed * believed) / (exceedances + PRIOR)
    shape = min(max(0.5 * (1.0 - mean * mean / variance), 0.0), HEAVIEST)
    distance = (value - edge) / max(mean * (1.0 - shape), floor)
    if shape < 1e-6:
        return float(min(-math.log10(TAIL) + distance / math.log(10.0), FURTHEST))
    return float(min(-math.log10(TAIL) + math.log10(1.0 + shape * distance) / shape, FURTHEST))


@compiled(takes="own reals, integer, real", returns="real")
def from_earlier_days(memory: Reals, time: int, value: float) -> float:
    """Distance from the nearest earlier day's mean of the same half hour or a neighbour; then remember (compiled).

    ∞: no earlier day is known. A time that lies further back than the days remembered is not remembered.
    """
    part_number = time // PART
    day = part_number // PARTS
    nearest = math.inf
    width = 1 + 2 * PARTS
    for neighbour in range(part_number - 1, part_number + 2):
        for back in range(1, DAYS):
            wanted = neighbour - back * PARTS
            slot = DAYS_AT + int((wanted // PARTS) % DAYS) * width
            if memory[slot] == wanted // PARTS + 1:  # 0: no day
                part = slot + 1 + int(wanted % PARTS)
                if memory[part + PARTS] > 0:
                    nearest = min(nearest, abs(value - memory[part] / memory[part + PARTS]))
    if memory[NEWEST_DAY] < day + 1:
        memory[NEWEST_DAY] = day + 1
    if day + 1 > memory[NEWEST_DAY] - DAYS:
        slot = DAYS_AT + int(day % DAYS) * width
        if memory[slot] != day + 1:
            memory[slot : slot + width] = 0.0
            memory[slot] = day + 1
        part = slot + 1 + int(part_number % PARTS)
        memory[part] += value
        memory[part + PARTS] += 1
    return nearest


@compiled(takes="own reals, real", returns="real, real, real, real, real")
def take_in(memory: Reals, value: float) -> Features:
    """Remember a value; returns it, its distance from the average, and the means up to it (compiled).

    Means are summed anew in order of arrival, so that a restart adds in the same order.
    """
    seen = int(memory[SEEN])
    if seen == 0:
        memory[AVERAGE] = value
    memory[RECENT_AT + seen % RECENT] = value
    memory[SEEN] = seen + 1
    long, middle, short = 0.0, 0.0, 0.0
    for back in range(min(seen + 1, RECENT) - 1, -1, -1):
        recent = memory[RECENT_AT + (seen - back) % RECENT]
        long += recent
        if back < MIDDLE:
            middle += recent
        if back < SHORT:
            short += recent
    count = seen + 1
    means = short / min(count, SHORT), middle / min(count, MIDDLE), long / min(count, RECENT)
    return value, value - memory[AVERAGE], means[0], means[1], means[2]


@compiled(takes="own reals, integer", returns="real")
def spacing_up_to(memory: Reals, time: int) -> float:
    """Usual distance of two values in time, µs; 0: unknown (compiled).

    A gap counts as four distances at most; a clock that stands or jumps back says nothing.
    """
    passed = time - memory[NEWEST_TIME]
    if memory[SEEN] > 0 and passed > 0:
        if memory[SPACING] == 0:
            memory[SPACING] = passed
        memory[SPACING] += SLOWNESS * (min(passed, 4.0 * memory[SPACING]) - memory[SPACING])
    memory[NEWEST_TIME] = time
    return float(memory[SPACING])


@compiled(takes="real, real", returns="real")
def more_asked(spacing: float, alike: float) -> float:
    """Evidence to ask for besides: log10 of how many values come in the time of one, at most MOST_MORE (compiled)."""
    if spacing <= 0 or spacing >= alike:
        return 0.0
    return min(math.log10(alike / spacing), MOST_MORE)


@compiled(takes="own reals", returns="real")
def mean_before(memory: Reals) -> float:
    """Mean of the newest SHORT values, summed in order of arrival; NaN: there are fewer (compiled)."""
    seen = int(memory[SEEN])
    if seen < SHORT:
        return math.nan
    total = 0.0
    for back in range(SHORT, 0, -1):
        total += memory[RECENT_AT + (seen - back) % RECENT]
    return total / SHORT


@compiled(takes="own reals, real", returns="real, real")
def jump_rarity(pool: Reals, distance: float) -> tuple[float, float]:
    """-log10 of the probability of so great a jump, and the distance from which one is STRANGE (compiled).

    A generalized Pareto tail through three quantiles (Pickands 1975). What lies beyond the last of them, one value in
    250, moves it little, however far off it is.
    """
    size, last = (pool.size - 2) // 2, int(pool[0]) - 1
    ordered = pool[2 + size : 3 + size + last]
    edge, midway, far = ordered[int(EDGE * last)], ordered[int(MIDWAY * last)], ordered[int(FAR * last)]
    shape, ratio = 0.0, math.log(5.0)
    if far > midway and midway > edge:
        seen = (1.0 - FAR) * (last + 1)
        shape = math.log((far - midway) / (midway - edge)) / ratio * seen / (seen + JUMP_PRIOR)
        shape = min(max(shape, 0.0), HEAVIEST)
    beyond = STRANGE + math.log10(1.0 - EDGE)
    if shape < 1e-6:
        scale = max((midway - edge) / ratio, LEAST_SCALE * edge) + 1e-150
        evidence = (distance - edge) / scale / math.log(10.0)
        strange = edge + scale * beyond * math.log(10.0)
    else:
        scale = max((midway - edge) * shape / (5.0**shape - 1.0), LEAST_SCALE * edge) + 1e-150
        evidence = math.log10(1.0 + shape * max(distance - edge, 0.0) / scale) / shape
        strange = edge + scale * (10.0 ** (beyond * shape) - 1.0) / shape
    if evidence <= 0:
        return 0.0, strange
    return min(evidence - math.log10(1.0 - EDGE), FURTHEST), strange


@compiled(takes="own reals, own reals, real, real", returns="real, real, real")
def judge_jump(memory: Reals, parameters: Reals, distance: float, more: float) -> Vote:
    """Evidence of a jump, how many times over what it takes, whether it votes after a while without (compiled).

    The jump is then remembered, unless it is strange; but so are strange ones that last or come often.
    """
    width = (memory.size - POOLS_AT) // POOLS
    pool = memory[POOLS_AT + JUMPS * width : POOLS_AT + (JUMPS + 1) * width]
    evidence, kept, onset = 0.0, distance, 0.0
    if pool[0] >= parameters[0]:
        evidence, strange = jump_rarity(pool, distance)
        kept = min(distance, strange)
    memory[BURDEN] *= LIGHTER
    memory[JUMP_QUIET] += 1
    over = evidence / ((parameters[5] + more) * (1.0 + WEIGHT * memory[BURDEN]))
    if over >= 1.0:
        if memory[JUMP_QUIET] > parameters[2]:
            onset = 1.0
            memory[BURDEN] += 1
        memory[JUMP_QUIET] = 0
    if evidence < STRANGE:
        memory[STREAK] = max(memory[STREAK] - 2, 0)
    else:
        memory[STREAK] += 1
    if memory[BURDEN] > OFTEN:
        join(pool, distance)
    elif evidence < STRANGE or memory[STREAK] > LASTING:
        join(pool, kept)
    return evidence, over, onset


@compiled(takes="own reals, real, own reals", returns="real, real")
def expected_band(memory: Reals, minimum: float, pool: Reals) -> tuple[float, float]:
    """Between which values the next one is expected: average plus the inner 99 % of the residuals (compiled)."""
    size, held = (pool.size - 2) // 2, int(pool[0])
    if held < minimum:
        return math.nan, math.nan
    edge = int(held * OUTSIDE / 2)
    average = memory[AVERAGE]
    return average + pool[2 + size + edge], average + pool[2 + size + held - 1 - edge]


@compiled(takes="own reals, real, real", returns="real")
def rarity_among_own(pool: Reals, minimum: float, distance: float) -> float:
    """Rarity of a distance among those of its source before it, which it then joins; 0: unknown (compiled)."""
    if distance == math.inf:
        return 0.0
    found = 0.0
    if pool[0] >= minimum:
        found = rarity(pool, distance)
    join(pool, distance)
    return found


@compiled(takes="own reals, own reals, integer, real, own reals, own reals", returns="real")
def collect_evidence(memory: Reals, parameters: Reals, time: int, step: float, features: Reals, shares: Reals) -> float:
    """Power mean of the sources' evidence, which ``shares`` takes; what is new joins the pools (compiled)."""
    width = (memory.size - POOLS_AT) // POOLS
    total = 0.0
    for source in range(SOURCES):
        if source < FEATURES:
            pool = memory[POOLS_AT + source * width : POOLS_AT + (source + 1) * width]
            distance = novelty(pool, features[source]) if pool[0] > 0 else math.inf
            join(pool, features[source])
        elif source == FEATURES:
            distance = step
        else:
            distance = from_earlier_days(memory, time, features[0])
        own = POOLS_AT + (FEATURES + source) * width
        shares[source] = rarity_among_own(memory[own : own + width], parameters[0], distance)
        total += shares[source] ** POWER
    return float((total / SOURCES) ** (1.0 / POWER))


@compiled(takes="own reals, own reals, real, real", returns="real, real, real")
def judge_evidence(memory: Reals, parameters: Reals, newest: float, more: float) -> Vote:
    """Probability of the smoothed evidence, how many times over what it takes, whether it votes anew (compiled)."""
    width = (memory.size - POOLS_AT) // POOLS
    memory[SMOOTHED] += ATTACK * (newest - memory[SMOOTHED])
    evidence, probability, onset = memory[SMOOTHED], math.nan, 0.0
    said = memory[POOLS_AT + SAID * width : POOLS_AT + (SAID + 1) * width]
    if said[0] >= parameters[0]:
        probability = 10.0 ** -rarity(said, evidence)
    if memory[SEEN] > parameters[0]:
        join(said, evidence)
    memory[HABIT] *= parameters[4]
    memory[QUIET] += 1
    over = evidence / ((1.0 + memory[HABIT]) * (parameters[1] + more))
    if over >= 1.0:
        if memory[QUIET] > parameters[2]:
            onset = 1.0
        memory[QUIET] = 0
    return probability, over, onset


@compiled(takes="own reals, own reals, integer, real, own reals", returns="real, real, real, real, real, real")
def novelty_step(memory: Reals, parameters: Reals, time: int, value: float, shares: Reals) -> Judgement:
    """Judge a value, then remember it (compiled).

    Parameters
    ----------
    memory
        See the module.
    parameters
        Least values in a pool, evidence it takes to vote, values without a vote until the next is an alert, what an
        alert adds to the habit, the share of the habit that is left a value later, evidence it takes of a jump alone.
    shares
        Takes the evidence of each source, then of the jump, -log10 of a probability.

    Returns
    -------
    tuple of float
        Probability of what was seen, 1 for up or -1 for down, lower and upper end of the expected band, whether it
        votes, strength of the alert or 0.
    """
    shares[:] = 0.0
    if not abs(value) <= LARGEST:  # nor is NaN
        return math.nan, 0.0, math.nan, math.nan, 0.0, 0.0
    width = (memory.size - POOLS_AT) // POOLS
    spacing = spacing_up_to(memory, time)
    before = memory[RECENT_AT + (int(memory[SEEN]) - 1) % RECENT]
    step = abs(value - before) if memory[SEEN] > 0 else math.inf
    jump = value - mean_before(memory)
    features = np.array(take_in(memory, value + 0.0))
    low, high = expected_band(memory, parameters[0], memory[POOLS_AT + width : POOLS_AT + 2 * width])
    newest = collect_evidence(memory, parameters, time, step, features, shares)
    memory[AVERAGE] += SLOWNESS * features[1]
    probability, over, onset = judge_evidence(memory, parameters, newest, more_asked(spacing, ALIKE_EVIDENCE))
    up = features[1] >= 0
    if math.isfinite(jump):
        far, jump_over, jump_onset = judge_jump(memory, parameters, abs(jump), more_asked(spacing, ALIKE_JUMPS))
        shares[SOURCES] = far
        if 10.0**-far < probability or (math.isnan(probability) and jump_over >= 1.0):
            up = jump >= 0
            probability = 10.0**-far
        # The rarer of two: twice as probable.
        probability = min(2.0 * probability, 1.0)
        over, onset = max(over, jump_over), max(onset, jump_onset)

    memory[ALERTED] += 1
    vote, alert = 1.0 if over >= 1.0 else 0.0, 0.0
    if onset > 0 and memory[ALERTED] > parameters[2]:
        alert = over * parameters[1]
        memory[ALERTED] = 0
        memory[HABIT] += parameters[3]
    return probability, 1.0 if up else -1.0, low, high, vote, alert


@compiled(takes="own reals, own reals, integers, reals", returns="own real rows")
def novelty_steps(memory: Reals, parameters: Reals, times: NDArray[np.int64], values: Reals) -> Reals:
    """:func:`novelty_step` for one value after the other; a row each: what it returns, then the shares (compiled)."""
    rows = np.empty((values.size, JUDGED + SOURCES + 1), np.float64)
    for i in range(values.size):
        rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3], rows[i, 4], rows[i, 5] = novelty_step(
            memory, parameters, times[i], values[i], rows[i, JUDGED:]
        )
    return rows


@compiled(takes="own real rows, integer", returns="real")
def read_ahead(memories: Reals, number: int) -> float:
    """Read the ordered half of every pool of a memory, a number of each cache line, and return their sum (compiled).

    The searches of a step read here and there, each place only after the one before: with many series, whose memories
    together exceed the caches, waiting for them takes longer than all the rest. In a row they come by themselves.
    """
    width = (memories.shape[1] - POOLS_AT) // POOLS
    total = 0.0
    for pool in range(POOLS):
        begin = POOLS_AT + pool * width
        total += memories[number, begin + 2 + int(memories[number, begin + 1])]  # the oldest, which goes
        for i in range(begin + 2 + (width - 2) // 2, begin + width, CACHE_LINE):
            total += memories[number, i]
    return total


@compiled(takes="own real rows, own reals, integer, reals, own real rows", returns="own real rows, real")
def novelty_steps_across(
    memories: Reals, parameters: Reals, time: int, values: Reals, shares: Reals
) -> tuple[Reals, float]:
    """:func:`novelty_step` for one value of each series, a memory, a row of shares and one of what it returns each.

    The number besides says nothing; it keeps the compiler from leaving out the reading ahead (compiled).
    """
    rows, read = np.empty((values.size, JUDGED), np.float64), 0.0
    for i in range(values.size):
        read += read_ahead(memories, i)
        rows[i, 0], rows[i, 1], rows[i, 2], rows[i, 3], rows[i, 4], rows[i, 5] = novelty_step(
            memories[i], parameters, time, values[i], shares[i]
        )
    return rows, read


def empty_memory(size: int) -> Reals:
    """The memory of a detector that has seen nothing; its pools hold ``size`` values."""
    memory = np.zeros(POOLS_AT + POOLS * (2 + 2 * size))
    memory[QUIET] = memory[JUMP_QUIET] = memory[ALERTED] = NEVER
    return memory


def pool_values(memory: Reals, number: int) -> Reals:
    """The values in a pool, oldest first."""
    pool = _pool(memory, number)
    size, count, oldest = (len(pool) - 2) // 2, int(pool[0]), int(pool[1])
    arrived = pool[2 : 2 + size]
    return np.roll(arrived, -oldest) if count == size else arrived[:count].copy()


def refill_pool(memory: Reals, number: int, values: Reals) -> None:
    """Let a pool hold ``values``, oldest first; of more than it can hold the newest."""
    pool = _pool(memory, number)
    size = (len(pool) - 2) // 2
    kept = values[-size:]
    pool[:] = 0
    pool[0], pool[1] = len(kept), len(kept) % size
    pool[2 : 2 + len(kept)] = kept
    pool[2 + size : 2 + size + len(kept)] = np.sort(kept)


def _pool(memory: Reals, number: int) -> Reals:
    width = (len(memory) - POOLS_AT) // POOLS
    return memory[POOLS_AT + number * width : POOLS_AT + (number + 1) * width]
