"""``python -m pt_bridge`` is ``pt-bridge``."""

import gc
import signal

if __name__ == "__main__":
    # Until Python code handles it, Ctrl-C ends us as it ends any program.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    # As in bin/pt-bridge.
    gc.disable()

    from pt_bridge.main import main

    main()
