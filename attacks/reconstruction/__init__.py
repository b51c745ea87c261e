"""Attacks that guess texts."""
