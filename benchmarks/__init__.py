"""Measurements of communication and speed."""
