"""Drawings of stored results."""
