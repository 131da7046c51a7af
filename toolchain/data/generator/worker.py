"""The child process of :mod:`toolchain.data.generator.pool`: makes the pieces it is asked for, until nobody asks."""

from __future__ import annotations

import json
import os
import sys

from toolchain.data.generator.chunks import Piece, make_piece


def serve(frames_fd: int) -> None:
    """Answer each line of JSON on stdin, a :class:`Piece`, with the bytes of its frames on ``frames_fd``.

    Ends when stdin does, and when nobody reads the frames any more.
    """
    for line in sys.stdin.buffer:
        unsent = make_piece(Piece(**json.loads(line))).data.cast("B")
        try:
            while unsent:
                unsent = unsent[os.write(frames_fd, unsent) :]
        except BrokenPipeError:
            return
