"""Send arguments, environment, directory and streams to the fork server, and behave like the forked command.

This client uses only built-in modules, because it starts again for each command. Importing os takes a third of the
time that the client needs.
"""

import _signal  # type: ignore[import-not-found]  # importing signal takes as long as all the others
import _socket
import marshal
import posix
import sys

PASSED_ON = {_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGUSR1, _signal.SIGWINCH}
LENGTH = 4


def is_open(descriptor: int) -> bool:
    """Return whether this process inherited an open stream with this number."""
    try:
        posix.fstat(descriptor)
    except OSError:
        return False
    return True


def read(connection: _socket.socket) -> int:
    """Return the next number from the server. If the server has ended, exit with code 1."""
    content = connection.recv(LENGTH, _socket.MSG_WAITALL)
    if len(content) < LENGTH:
        sys.stderr.write("the fork server has ended\n")
        posix._exit(1)  # noqa: SLF001 - os._exit is this function
    return int.from_bytes(content, "big")


_signal.pthread_sigmask(_signal.SIG_BLOCK, PASSED_ON)  # the signals wait until the command that receives them is known
streams = [number for number in (0, 1, 2) if is_open(number)]
while posix.open("/dev/null", posix.O_RDWR) not in range(3, 6):
    pass  # the socket must not get the number of a closed stream
with_streams = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
with_streams.connect(sys.argv[1])
request = marshal.dumps((streams, sys.argv[2:], posix.environ, posix.getcwd()))
with_streams.sendmsg(
    [len(request).to_bytes(LENGTH, "big")],
    [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, b"".join(number.to_bytes(4, sys.byteorder) for number in streams))],
)
sent = 0
while sent < len(request):
    sent += with_streams.send(request[sent:])
child = read(with_streams)
for number in PASSED_ON:
    _signal.signal(number, lambda number, _: posix.kill(child, number))
_signal.pthread_sigmask(_signal.SIG_UNBLOCK, PASSED_ON)
for stream in streams:
    posix.close(stream)  # the other end must see that the command has closed the stream
status = read(with_streams)
if posix.WIFSIGNALED(status):
    if posix.WTERMSIG(status) in PASSED_ON:
        _signal.signal(posix.WTERMSIG(status), _signal.SIG_DFL)
    posix.kill(posix.getpid(), posix.WTERMSIG(status))
posix._exit(posix.WEXITSTATUS(status))  # noqa: SLF001 - os._exit is this function
