"""The report: every artifact of a folder as one row of latency against accuracy, with its ReLU twin."""
