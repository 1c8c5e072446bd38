"""Which assets run together: tactical, day close, back-fill, maintenance."""
