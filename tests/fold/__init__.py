"""Folds: forward work, day runs, states, what is in force."""
