"""Learning: regimes and the versions that flow back."""
