"""Venue adapters, one file each."""
