"""What touches the outside: lake, Redis, exchanges, settings. Knows no stage; it is handed schemas."""
