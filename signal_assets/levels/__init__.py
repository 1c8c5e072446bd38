"""Wave peaks, price zones, point of control and value area: where the market keeps returning to."""
