"""Anomalies handed over to other systems: one at a time or in batches, at least once, by id."""
