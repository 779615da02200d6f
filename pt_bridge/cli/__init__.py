"""The commands for people: their flags, their help, what they print; not what they do.

A run is in bridge/ and process/, doctor in doctor/, what people paste in profiles/.
"""
