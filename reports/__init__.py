"""Leakage reports made from stored results."""
