"""Where tests find the presets and real songs and weights."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs"
STUDY = REPOSITORY / "tests" / "support" / "study-spleeter.yaml"
"""Spleeter and the plain iteration on the built-in clip: quick, and of settings that tests can change one by one."""
STUDY_HTDEMUCS = REPOSITORY / "tests" / "support" / "study-htdemucs.yaml"
"""The same with htdemucs."""
SHARED = REPOSITORY.parent / "shared"
"""Real songs and weights, which are not part of the repository; tests that need them skip without them."""
