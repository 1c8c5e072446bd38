"""Ids that say what a thing is: the same content, the same id, in every lane and on every machine."""

import hashlib


def content_id(*parts: object) -> str:
    r"""First 32 hex digits of SHA-256 over the parts' texts, joined by ``\x1f``.

    Examples
    --------
    >>> content_id("momentum_rider", "BTCFDUSD.BINANCE", "1m", 1736208000000000, "buy", "v1")
    '83dec6bfe86d746be62ffbb99f176cbf'
    """
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8")).hexdigest()[:32]
