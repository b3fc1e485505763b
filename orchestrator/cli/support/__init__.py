"""What the verbs share: options, exit codes, tables, live progress, signals."""
