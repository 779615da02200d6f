"""Numbers for whoever runs pt-bridge for others: a page for Prometheus."""
