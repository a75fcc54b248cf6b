"""Configs for Hydra; a package, because Hydra reads configs from packages only."""
