"""The TFLite flatbuffer: read it, rewrite it, run it."""
