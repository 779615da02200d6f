"""A long path: what somebody far away waits for (``scripts/bench --path``)."""
