"""Why something failed, and what to try, in sentences for the log and doctor; pure."""
