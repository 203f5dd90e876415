"""Float models in arithmetic that gives the same bits on every processor.

Kernels of float ops sum in the order that suits the registers of the processor, and fuse or do not fuse multiplying and
adding: their results differ in the last bits, and so would ranges, corrected biases and bytes. Here

- sums are exact, so that their order does not count (`grid`);
- everything else is made of +, -, *, / and square roots, each of them rounded as IEEE 754 says, in numpy, which fuses
  none (`functions`);
- ops that only move, compare or count run on LiteRT, one by one.

Three bits of each operand's 24 are given up for it, 2^-23 of the largest value: far below a step of 8 or 16 bits.
"""

from edgecompile.tflite.fixed.executor import Executor, runs, state_ranges, unfixed

__all__ = ["Executor", "runs", "state_ranges", "unfixed"]
