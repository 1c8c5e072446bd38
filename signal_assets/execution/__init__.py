"""Execution: paper broker, positions, deployments."""
