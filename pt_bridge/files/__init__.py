"""What lies on disk, and who may have put it there; synchronous.

Programs, a PT's state and keys, pt-bridge.conf, systemd's units, files of an operator.
"""
