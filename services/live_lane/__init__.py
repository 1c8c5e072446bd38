"""Live lane: from a venue's messages to Redis streams and signals. `python -m services.live_lane`."""
