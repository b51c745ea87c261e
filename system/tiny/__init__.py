"""`sidelight-tiny`, the default backbone: its weights, its card, and the scripts that made it."""
