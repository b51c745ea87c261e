"""A leakage budget: limits from a file, held against the rows of a finished audit, told to people and to pipelines."""
