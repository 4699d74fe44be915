"""What holds for all tests."""

from hypothesis import settings

# A machine that is busy with something else is no fault.
settings.register_profile("tks-edge", deadline=None)
settings.load_profile("tks-edge")
