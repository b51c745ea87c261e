"""The thing under audit: protocols, parties, messages, models and data; it knows nothing of attackers."""
