"""Who leads a group: leases in Redis, of which each group has one.

Belongs here: taking, renewing and giving back leases, which lane takes which group, and the fence that every write of a
holder carries. Does not belong here: what leading a group means (``shard``).

Whoever takes a lease gets a token one higher than the last. The lease runs out unless it is renewed; *who* took it last
stays written. So a holder that was paused finds out at its first write, which names its token, whether somebody has led
since; and one that merely could not reach Redis goes on with its old token if nobody has.

Lanes share the groups by two rules. A free group is taken at once by a lane that leads no more groups than any other
living lane that may have it; the rest take it if it is still free two seconds later. And a lane that leads at least two
groups more than such another gives it one.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import redis.asyncio
import redis.exceptions
import structlog

from resources.redis_keys import LANES, lane_holder, lane_lease, lane_token

LEASE_SECONDS: Final = 5.0
RENEW_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.5
"""Between two looks for free groups of a lane that could lead more than it does."""
YIELD_SECONDS: Final = 2.0
"""How long a free group is left to lanes that lead fewer."""
SETTLE_SECONDS: Final = 5.0
"""A lane that has lived for so long is given its share, one group in so long."""

REDIS_ERRORS: Final = (redis.exceptions.RedisError, OSError, TimeoutError)

TICK: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %s', now + ARGV[2], ARGV[3]))
local lanes, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
    if tonumber(string.match(all[i + 1], '^%d+')) < now then
        redis.call('HDEL', KEYS[1], all[i])
    else
        table.insert(lanes, all[i])
        table.insert(lanes, string.match(all[i + 1], '^%d+ (.*)$'))
    end
end
local leases = {}
for i = 2, #KEYS, 3 do
    local lease, holder, counter, mine = KEYS[i], KEYS[i + 1], KEYS[i + 2], ARGV[4 + (i - 2) / 3]
    local known = redis.call('GET', holder)
    if mine ~= '' then
        local token = tonumber(string.match(mine, '^%d+'))
        if not known or known == mine or tonumber(string.match(known, '^%d+')) < token then
            if known ~= mine then redis.call('SET', holder, mine) end
            if tonumber(redis.call('GET', counter) or '0') < token then redis.call('SET', counter, token) end
            redis.call('SET', lease, mine, 'PX', ARGV[2])
            known = mine
        end
    end
    table.insert(leases, known or '')
    table.insert(leases, redis.call('EXISTS', lease))
end
return {lanes, leases}
"""
"""Says that this lane lives, renews what it leads, and looks at the rest. Keys: the lanes, then lease, holder and token
of each group. Arguments: lane, its time to live (ms), what it says of itself, then per group what it leads it under, or
nothing. A Redis that lost its data, or its newest, learns the holder again: no higher token was given by it.
"""

TAKE: Final = """
local lease, known = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if lease and string.match(lease, '^%d+ ([^/]*)/') ~= ARGV[2] then return {} end
local mine = string.format('%d %s', redis.call('INCR', KEYS[3]), ARGV[1])
redis.call('SET', KEYS[2], mine)
redis.call('SET', KEYS[1], mine, 'PX', ARGV[3])
return {mine, known or ''}
"""
"""Takes a lease that nobody holds, or whose holder had our folder: the lock on it says that it is dead. Keys: lease,
holder, token. Arguments: lane, folder, time to live (ms). Answer: what we lead under and who led before.
"""

GIVE: Final = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

log = structlog.get_logger("live_lane.lease")


class SupersededError(RuntimeError):
    """Another lane has taken the group since: nothing of ours may be written any more."""


class HolderUnknownError(redis.exceptions.RedisError):
    """Redis has forgotten who leads: the next renewal tells it, until then writes are tried again."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What a holder's writes are checked against, within the step that writes.

    Parameters
    ----------
    key : str
        Where Redis says who took the lease last.
    value : str
        What must stand there: token and lane.
    """

    key: str
    value: str

    def check(self, found: bytes | str | None) -> None:
        """Return if we are the one who took the lease last.

        Raises
        ------
        SupersededError
            If somebody has taken it since.
        HolderUnknownError
            If Redis has forgotten that we took it.

        Examples
        --------
        >>> Fence("live:holder:crypto", "7 here/a").check(b"7 here/a")
        >>> Fence("live:holder:crypto", "7 here/a").check(b"8 there/b")
        Traceback (most recent call last):
            ...
        services.live_lane.shard_lease.SupersededError: live:holder:crypto is 8 there/b, no longer 7 here/a
        """
        text = found.decode() if isinstance(found, bytes) else found or ""
        if text == self.value:
            return
        if not text or _token(text) < _token(self.value):
            raise HolderUnknownError(f"{self.key} is {text or 'nothing'}, not yet {self.value}")
        raise SupersededError(f"{self.key} is {text}, no longer {self.value}")


def _token(value: str) -> int:
    return int(value.partition(" ")[0])


def _folder(value: str) -> str:
    return value.partition(" ")[2].partition("/")[0]


@dataclass(slots=True, eq=False)
class Lease:
    """A lease that was taken.

    Parameters
    ----------
    continues : bool
        Whoever led before had our folder, or there was nobody: what is left in the folder is the newest there is.
    taken_over : bool
        Another lane led before.
    """

    group: str
    value: str
    continues: bool
    taken_over: bool
    lost: bool = False

    @property
    def fence(self) -> Fence:
        """What writes under this lease carry."""
        return Fence(lane_holder(self.group), self.value)


@dataclass(frozen=True, slots=True)
class OtherLane:
    """What another living lane says of itself."""

    may_lead: frozenset[str]
    leads: frozenset[str]


@dataclass(slots=True)
class _Seen:
    lane: OtherLane
    since: float = field(default_factory=time.monotonic)


class ShardLeases:
    """Keeps this lane's leases and takes free ones, until it is closed.

    Without Redis nobody can lead in our place, so a holder goes on; it renews under its old token when Redis is back. A
    lane that was cut off from Redis takes nothing for one lease's time afterwards, so that holders come first.

    Parameters
    ----------
    client : redis.asyncio.Redis
        Used by nobody else.
    folder, process : str
        Names, unique among lanes: of the folder, whose lock this process holds, and of this life.
    groups : sequence of str
        What this lane may lead.
    taken, lost, surplus : callable
        Told of a lease that was taken, one that another lane has taken, and a group to be given to another lane. The
        lane answers the last two with :meth:`forget` and :meth:`give`, when it has closed the group.

    Attributes
    ----------
    holders : dict of str to str
        Who took each group's lease last, as far as is known.
    """

    def __init__(
        self,
        client: "redis.asyncio.Redis",
        folder: str,
        process: str,
        groups: Sequence[str],
        taken: Callable[[Lease], None],
        lost: Callable[[str], None],
        surplus: Callable[[str], None],
        *,
        seconds: float = LEASE_SECONDS,
    ) -> None:
        self._client = client
        self._folder = folder
        self.name = f"{folder}/{process}"
        self._groups = list(groups)
        self._taken, self._lost, self._surplus = taken, lost, surplus
        self._seconds = seconds
        self._held: dict[str, Lease] = {}
        self._leaving: set[str] = set()
        self._others: dict[str, _Seen] = {}
        self._free_since: dict[str, float] = {}
        self._wait_until = 0.0
        self._shared_at = -SETTLE_SECONDS
        self._closing = False
        self._scripts: dict[str, Any] = {}
        self.holders: dict[str, str] = {}
        self.connected = False
        self.error = ""

    @property
    def leads(self) -> list[str]:
        """Groups whose lease is ours, as far as is known."""
        return [group for group, lease in self._held.items() if not lease.lost]

    @property
    def groups(self) -> Sequence[str]:
        """What this lane may lead."""
        return self._groups

    async def run(self) -> None:
        """Renew, look and take until cancelled."""
        renew = min(RENEW_SECONDS, self._seconds / 4)
        while True:
            try:
                await self.tick()
            except REDIS_ERRORS as error:
                self._cut_off(error)
            idle = self._closing or all(group in self._held for group in self._groups)
            await asyncio.sleep(renew if idle else min(LOOK_SECONDS, renew))

    def take_no_more(self) -> None:
        """From now on only keep what is held."""
        self._closing = True

    def forget(self, group: str) -> None:
        """A lost group has been closed: it may be taken again."""
        self._held.pop(group, None)
        self._leaving.discard(group)

    async def give(self, group: str, *, for_good: bool = False) -> None:
        """Give a lease back, so that others need not wait until it runs out; ``for_good``: never take it again."""
        if for_good and group in self._groups:
            self._groups.remove(group)
        lease = self._held.pop(group, None)
        if lease is None:
            return
        self._leaving.discard(group)
        self._free_since.pop(group, None)
        try:
            await self._script(GIVE, [lane_lease(group), lane_holder(group)], [lease.value])
        except REDIS_ERRORS as error:
            log.warning("lease could not be given back, it runs out", group=group, error=str(error))

    async def close(self, *, keep: bool = False) -> None:
        """Give everything back, and say that this lane is no more; ``keep``: the next one of our folder is coming."""
        self._closing = True
        for group in () if keep else list(self._held):
            await self.give(group)
        try:
            await self._client.hdel(LANES, self.name)
        except REDIS_ERRORS as error:
            log.warning("redis was not told that the lane ends", error=str(error))
        await self._client.aclose()

    def health(self) -> dict[str, dict[str, Any]]:
        """Per group: leading or standby, and under which token who leads."""
        states = {}
        for group in self._groups:
            holder = self.holders.get(group, "")
            states[group] = {
                "state": "leading" if group in self.leads else "standby",
                "token": _token(holder) if holder else None,
                "holder": holder.partition(" ")[2],
            }
        return states

    # -- one round -------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """One round: say that we live, renew, look, take, share."""
        groups = list(dict.fromkeys([*self._groups, *self._held]))
        keys = [LANES, *(key(group) for group in groups for key in (lane_lease, lane_holder, lane_token))]
        words = json.dumps({"may_lead": [] if self._closing else self._groups, "leads": self.leads})
        milliseconds = round(self._seconds * 1_000)
        ours = [lease if (lease := self._held.get(group)) and not lease.lost else None for group in groups]
        values = [lease.value if lease is not None else "" for lease in ours]
        lanes, leases = await self._script(TICK, keys, [self.name, milliseconds, words, *values])
        self.connected, self.error = True, ""
        self._see(lanes)
        free = []
        for group, lease, holder, held in zip(groups, ours, leases[::2], leases[1::2], strict=True):
            self.holders[group] = holder.decode()
            if lease is not None and self.holders[group] != lease.value and self._held.get(group) is lease:
                lease.lost = True
                log.warning("another lane leads the group", group=group, holder=self.holders[group], ours=lease.value)
                self._lost(group)
            # A lease under our folder's name that we do not know of is a dead predecessor's: the lock is ours.
            if group not in self._held and (not held or _folder(self.holders[group]) == self._folder):
                free.append(group)
            else:
                self._free_since.pop(group, None)
        if not self._closing and time.monotonic() >= self._wait_until:
            await self._take(free)
            self._share()

    def _see(self, lanes: Sequence[bytes]) -> None:
        said = {name.decode(): json.loads(text) for name, text in zip(lanes[::2], lanes[1::2], strict=True)}
        said.pop(self.name, None)
        before, self._others = self._others, {}
        for name, words in said.items():
            lane = OtherLane(frozenset(words["may_lead"]), frozenset(words["leads"]))
            self._others[name] = _Seen(lane, before[name].since) if name in before else _Seen(lane)

    async def _take(self, free: Sequence[str]) -> None:
        now = time.monotonic()
        for group in free:
            if group not in self._groups:
                continue
            since = self._free_since.setdefault(group, now)
            mine = len(self.leads)
            fewer = any(group in seen.lane.may_lead and len(seen.lane.leads) < mine for seen in self._others.values())
            if fewer and now - since < YIELD_SECONDS:
                continue
            keys = [lane_lease(group), lane_holder(group), lane_token(group)]
            answer = await self._script(TAKE, keys, [self.name, self._folder, round(self._seconds * 1_000)])
            if not answer:
                continue
            value, before = (text.decode() for text in answer)
            ours = not before or _folder(before) == self._folder
            lease = self._held[group] = Lease(group, value, continues=ours, taken_over=not ours)
            self.holders[group] = value
            log.info("group taken", group=group, ours=value, before=before)
            self._taken(lease)

    def _share(self) -> None:
        """Give a group to a lane that has long been there and leads at least two fewer."""
        now, mine = time.monotonic(), self.leads
        if self._leaving or now - self._shared_at < SETTLE_SECONDS:
            return  # until the other has taken the last one and says so
        for group in reversed(mine):
            for name, seen in self._others.items():
                settled = now - seen.since >= SETTLE_SECONDS
                if settled and group in seen.lane.may_lead and len(mine) - len(seen.lane.leads) >= 2:
                    log.info("group is given to another lane, which leads fewer", group=group, lane=name)
                    self._leaving.add(group)
                    self._shared_at = now
                    self._surplus(group)
                    return

    def _cut_off(self, error: BaseException) -> None:
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        if self.connected or not self.error:
            log.warning("redis does not keep leases, will try again", error=text, leads=self.leads)
        self.connected, self.error = False, text
        self._wait_until = time.monotonic() + self._seconds
        self._free_since.clear()

    async def _script(self, text: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        if text not in self._scripts:
            self._scripts[text] = self._client.register_script(text)
        return await self._scripts[text](keys=list(keys), args=cast(Any, list(arguments)))
