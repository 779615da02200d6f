"""``python -m pt_bridge`` is ``pt-bridge``."""

import signal
import sys

if __name__ == "__main__":
    # Until Python code handles it, Ctrl-C ends us as it ends any program.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from pt_bridge.main import main

    sys.exit(main())
