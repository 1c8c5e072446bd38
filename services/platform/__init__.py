"""The platform ``signals up`` runs: PostgreSQL, Redis, Dagster, workers, live lane – started, watched, stopped.

Belongs here: processes and addresses. Does not belong here: what those processes compute.
"""
