"""How long fine-tuning takes until a model is as good: contenders in one process, taking turns."""
