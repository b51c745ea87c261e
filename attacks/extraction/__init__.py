"""Attacks that rebuild the tuned model."""
