"""What the integration tests are made with: machines, wires, programs, mishaps."""
