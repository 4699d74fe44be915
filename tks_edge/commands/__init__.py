"""The commands of `tks-edge`, one a file. Nothing heavy is imported before a command runs."""
