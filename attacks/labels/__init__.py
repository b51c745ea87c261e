"""Attacks that guess labels."""
