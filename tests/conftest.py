"""What every test runs under."""

from __future__ import annotations

import os

from hypothesis import settings

# No test asserts a timing: a slow machine must not fail a law. A build machine replays the same
# examples, so that a red build is red again; everyone else looks for new ones.
settings.register_profile("house", deadline=None)
settings.register_profile("build", deadline=None, derandomize=True)
settings.load_profile("build" if os.environ.get("CI") else "house")
