"""A recording that is there already, attacked and judged: the same folder of results as an audit's."""
