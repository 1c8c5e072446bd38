"""A lake in an S3-compatible object store: who we are there, and where it answers.

Belongs here: what the environment says about the store, as DuckDB wants it. Does not belong here: attaching the lake
(``duck_lake_connection``).
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from resources.duck_lake_sql import literal
from resources.lake import LakeError

SCHEME: Final = "s3://"
_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def in_object_store(lake_path: str) -> bool:
    """Whether the lake's files lie in an object store rather than in a folder.

    Examples
    --------
    >>> in_object_store("s3://market/lake"), in_object_store("/var/lib/signals/lake")
    (True, False)
    """
    return lake_path.startswith(SCHEME)


def secret_of(lake_path: str, environment: Mapping[str, str]) -> str:
    """The statement that makes the store's keys known to one DuckDB connection, for this lake's files only.

    Parameters
    ----------
    lake_path : str
        ``s3://bucket/prefix``.
    environment : mapping
        The variables every S3 client knows: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``,
        ``AWS_REGION`` or ``AWS_DEFAULT_REGION``, and for a store that is not Amazon's ``AWS_ENDPOINT_URL_S3`` or
        ``AWS_ENDPOINT_URL``.

    Raises
    ------
    LakeError
        If a key is missing, or the endpoint is no address.

    Examples
    --------
    >>> keys = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "word", "AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}
    >>> secret_of("s3://market/lake", keys).partition("REGION ")[2]
    "'us-east-1', ENDPOINT '127.0.0.1:9000', URL_STYLE 'path', USE_SSL 'false')"
    """
    if missing := [name for name in _KEYS if not environment.get(name)]:
        raise LakeError(f"the lake at {lake_path} needs keys: set {' and '.join(missing)}")
    options = {
        "SCOPE": SCHEME + urlsplit(lake_path).netloc,
        "KEY_ID": environment[_KEYS[0]],
        "SECRET": environment[_KEYS[1]],
        "SESSION_TOKEN": environment.get("AWS_SESSION_TOKEN", ""),
        "REGION": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
    }
    if endpoint := environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL"):
        address = urlsplit(endpoint)
        if address.scheme not in {"http", "https"} or not address.netloc or address.path.strip("/"):
            raise LakeError(f"AWS_ENDPOINT_URL should look like https://store.example:9000, not {endpoint}")
        # A store of one's own seldom has a host name per bucket.
        options |= {"ENDPOINT": address.netloc, "URL_STYLE": "path", "USE_SSL": str(address.scheme == "https").lower()}
    settings = ", ".join(f"{name} {literal(value)}" for name, value in options.items() if value)
    return f"CREATE OR REPLACE SECRET lake_files (TYPE s3, {settings})"
