"""What tells whether an example was trained on: what it would send, and how models with and without it answer."""
