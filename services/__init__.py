"""Long-running processes: live lane, simulated venue, platform."""
