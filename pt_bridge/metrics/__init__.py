"""Numbers for operators: what all bridges of a process count, a page for Prometheus."""
