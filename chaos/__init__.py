"""pt-bridge under seeded misdeeds, with content that is checked (``scripts/chaos``)."""
