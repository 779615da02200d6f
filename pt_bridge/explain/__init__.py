"""What failed, in sentences for the log and for doctor; pure."""
