"""What a machine allows, how near the project comes to it, and how its costs grow."""
