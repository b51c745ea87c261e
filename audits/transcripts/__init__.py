"""Folders that somebody else recorded: checked before anything reads them (docs/transcripts.md)."""
