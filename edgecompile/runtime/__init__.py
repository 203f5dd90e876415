"""What runs on the device: numpy and an interpreter only; nothing else of edgecompile is imported here."""
