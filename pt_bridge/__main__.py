"""``python -m pt_bridge`` is ``pt-bridge``."""

import sys

from pt_bridge.cli import main

if __name__ == "__main__":
    sys.exit(main())
