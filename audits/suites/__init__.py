"""What an audit is asked to do: suites, their runs, sweeps, settings and threat models."""
