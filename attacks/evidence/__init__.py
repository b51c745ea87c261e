"""What label attacks share: rows lined up by sample, what public knowledge says of them, names for clusters."""
