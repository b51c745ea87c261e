"""Attacks apart: workers that see a view and public knowledge, and what they leave behind."""
