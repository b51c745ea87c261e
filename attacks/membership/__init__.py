"""Attacks that tell whether an example was trained on."""
