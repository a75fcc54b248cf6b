"""The audit trail: asked, verified, exported, erased from, and completed by outcomes."""
