"""Live lane: from a venue's messages to Redis streams. `python -m services.live_lane`."""
