"""pt-bridge measured side by side with what else relays (``scripts/bench``)."""
