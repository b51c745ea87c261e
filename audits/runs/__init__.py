"""Runs: a victim's parts, and the processes that record a protocol on them."""
