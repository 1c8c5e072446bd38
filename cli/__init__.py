"""The ``signals`` command."""
