"""Rules broken on purpose, one at a time, and the named test that must notice each."""
