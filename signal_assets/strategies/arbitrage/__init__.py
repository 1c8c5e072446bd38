"""Arbitrage strategies."""
