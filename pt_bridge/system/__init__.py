"""This machine: processes, signals, logs; knows no PT and no tunnel."""
