"""What the tests are made with: real programs, sockets and clocks that a test plays."""
