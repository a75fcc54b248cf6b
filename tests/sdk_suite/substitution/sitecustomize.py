"""Loaded by every Python process of the run, the ones that tests start too: this folder is on their PYTHONPATH."""

import substitution

substitution.install()
