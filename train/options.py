"""How the commands of this folder read a value; imports nothing heavy, for masks.py needs no TensorFlow."""

from __future__ import annotations

import argparse


def comma_separated(text: str) -> tuple[str, ...]:
    """The parts of a list as in `a,b`, without the blanks around them; empty parts are left out."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def thread_count(text: str) -> int:
    """A number of threads for `use_threads`, as an argparse type."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"0 or a number of threads was expected, got {text!r}")
    return int(text)


def use_threads(threads: int) -> None:
    """Limits TensorFlow to this many CPU threads; 0 leaves it all cores. Only before it has computed anything."""
    if threads:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
