"""The stages of the pipeline: one process each, started by DVC, configured by Hydra."""
