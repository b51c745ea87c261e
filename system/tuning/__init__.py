"""The device as a program: a model is fine-tuned with a server's help, measured, exported, and loaded again."""
