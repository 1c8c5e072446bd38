"""A loopback venue that speaks Binance's REST and WebSocket protocol, from a seeded model or a recording."""
