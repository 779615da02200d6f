"""This machine: child processes, signals, systemd, the log, the event loop.

It knows no PT and no tunnel: a PT's process is in pt/, and what each signal means to a
run in process/. Sockets are in net/, and what lies on disk in files/.
"""
