"""What lies on disk, and who may have put it there; synchronous."""
