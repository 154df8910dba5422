"""Run a command on a terminal of a given size, and read the screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from contextlib import contextmanager

import pyte

_WRAPPED_AT_LEAST = 400


class Terminal:
    """A process on its own terminal. ``sent`` holds the bytes that the process wrote."""

    def __init__(self, command, environment, columns, lines):
        self.master, slave = pty.openpty()
        self.columns, self.lines = columns, lines
        self._set_size()
        self.sent, self.closed = b"", False
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - the tests start no threads
        )  # fmt: skip
        os.close(slave)

    def _set_size(self):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", self.lines, self.columns, 0, 0))

    def resize(self, columns, lines):
        """Change the size of the terminal, and discard the earlier output."""
        self.columns, self.lines, self.sent = columns, lines, b""
        self._set_size()

    def read(self, seconds):
        """Read the output that arrives within the given number of seconds."""
        end = time.monotonic() + seconds
        while not self.closed and self._receive(end - time.monotonic()):
            pass

    def _receive(self, seconds):
        """Wait for output, and read what has arrived. Return whether any output arrived."""
        if seconds <= 0 or not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            self.sent += os.read(self.master, 65536)
        except OSError:  # Linux raises this error when the other end is closed
            self.closed = True
        return not self.closed

    def wait_for(self, text, seconds=40):
        """Read until the terminal shows the given text. Return everything that is visible."""
        end = time.monotonic() + seconds
        while text not in (picture := self.picture()):
            assert time.monotonic() < end, f"no {text!r} in:\n{picture}"
            self.read(0.3)
        return picture

    def screen(self):
        """Return a simulated screen that has received all output so far."""
        screen = pyte.Screen(self.columns, self.lines)
        stream = pyte.ByteStream(screen)
        stream.feed(self.sent)
        return screen

    def picture(self):
        """Return the text that the terminal shows now."""
        return "\n".join(line.rstrip() for line in self.screen().display)

    def press(self, keys):
        """Type the given keys."""
        os.write(self.master, keys)

    def end(self, number=signal.SIGINT):
        """Send Ctrl-C as a terminal does, and return the exit code."""
        os.killpg(self.process.pid, number)
        return self.finish()

    def finish(self, seconds=40):
        """Read until the process ends, then the rest of its output, and return its exit code."""
        end = time.monotonic() + seconds
        while not self.closed and self.process.poll() is None and time.monotonic() < end:
            self.read(0.2)
        while not self.closed and self._receive(0.2):
            pass
        return self.process.wait(max(1.0, end - time.monotonic()))

    def text(self):
        """Return all printed text without colours, wrapped at the terminal's width."""
        screen = pyte.Screen(self.columns, _WRAPPED_AT_LEAST)
        pyte.ByteStream(screen).feed(self.sent)
        return "\n".join(line.rstrip() for line in screen.display).rstrip()


@contextmanager
def on_terminal(command, environment, columns, lines):
    """Run a command on its own terminal, and kill the process when the block ends."""
    it = Terminal(command, environment, columns, lines)
    try:
        yield it
    finally:
        if it.process.poll() is None:
            it.process.kill()
            it.process.wait(10)
        os.close(it.master)
