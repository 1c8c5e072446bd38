"""Signals: validation, confidence, de-duplication."""
