"""Where tests find the presets and real songs and weights."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs"
SHARED = REPOSITORY.parent / "shared"
"""Real songs and weights, which are not part of the repository; tests that need them skip without them."""
