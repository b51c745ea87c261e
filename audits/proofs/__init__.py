"""Programs that prove what the audits rest on; each prints a table and fails where a promise is broken."""
