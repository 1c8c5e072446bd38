"""Anomalies: what is off, how far, and what belongs together."""
