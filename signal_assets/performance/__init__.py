"""Performance: trade log, equity, metrics, alerts."""
