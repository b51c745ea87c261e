"""What an audit will do: every run and cell named, and where each stands in the report."""
