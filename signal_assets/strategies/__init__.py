"""Strategies: causal kernels that propose signals, one file each."""
