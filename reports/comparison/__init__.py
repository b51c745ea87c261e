"""Two audits side by side: what changed, and whether by more than chance."""
