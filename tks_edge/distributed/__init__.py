"""Several processes that train together: who is who, where they meet, what they agree on, whose weights are where."""
