"""The Celery queues runs travel through, and how an application must be set up to use them.

Belongs here: queue names and the configuration that the launcher (sending) and the workers (receiving) must share.
Does not belong here: tasks, and which job goes to which queue (``jobs``).
"""

from typing import Any, Final

QUEUE_TAG: Final = "dagster-celery/queue"
"""The run tag that names the queue (``dagster_celery.tags``, whose import is slow)."""

TACTICAL: Final = "tactical"
BACKFILL: Final = "backfill"
MAINTENANCE: Final = "maintenance"
RUN_QUEUES: Final = (TACTICAL, BACKFILL, MAINTENANCE)

CELERY_CONFIGURATION: Final[dict[str, Any]] = {
    # Nobody may hand us pickled objects through Redis.
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    # A run is never executed twice by a re-delivery: it is taken off the queue before it starts, and a run whose
    # worker died is relaunched as a new run by whoever wanted it.
    "task_acks_late": False,
    "task_track_started": True,
    # A message is fetched only when a process is free for it, so no run waits behind a long one or dies with it unseen.
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "worker_send_task_events": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_transport_options": {
        "max_retries": 3,
        "interval_start": 0,
        "interval_step": 0.2,
        "interval_max": 0.5,
        "socket_timeout": 30,
        "socket_connect_timeout": 5,
        "health_check_interval": 30,
    },
    "redis_socket_timeout": 10,
    "redis_socket_connect_timeout": 5,
    "result_expires": 86_400,  # asked for only while the run lasts
}


def celery_queues() -> list[Any]:
    """The three queues; declared alike by both sides, so that a message finds its queue whoever comes first.

    Examples
    --------
    >>> [queue.name for queue in celery_queues()]
    ['tactical', 'backfill', 'maintenance']
    """
    from kombu import entity  # here: whoever only wants a name need not load Celery

    kombu: Any = entity  # comes without types
    return [kombu.Queue(name, kombu.Exchange(name, type="topic"), routing_key=f"{name}.#") for name in RUN_QUEUES]
