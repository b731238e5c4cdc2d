"""What a decoder that an image took over cannot do: the rights that decoding has no use for are dropped.

Two sides. Inside the decoder's process, `confine`: whatever runs there cannot open, connect, write, start or log
anything, and cannot get that back. Around it, `close_memory`: the service's own memory and environment, where its
passwords are, are closed to other processes of its user, the decoders among them.

All of it is the kernel's and cannot be undone by an unprivileged process. Root with CAP_SYS_RESOURCE may raise
limits again, and root with CAP_SYS_PTRACE may read any memory; containers have neither unless they are given it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38


def confine() -> None:
    """From now on this process can compute, hold memory and use the descriptors that are open, and little else.

    ======================  =====================================================================================
    ``RLIMIT_NOFILE`` 0     no descriptor beside those that are open: no file, socket, pipe, timer, io_uring
    ``RLIMIT_FSIZE`` 0      no byte into a file, should one of those be one
    ``RLIMIT_NPROC`` 0      no process and no thread (counted by user, but judged by this process's limit alone)
    ``no_new_privs``        no program of more rights (setuid)
    standard error          goes nowhere: the service's log takes no line from a stranger
    ======================  =====================================================================================

    Whatever is read later, be it a module or ``/proc``, must be open or imported by now.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE):
        resource.setrlimit(limit, (0, 0))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def close_memory() -> None:
    """Other processes of this user can no longer read this one's memory and environment, nor trace it.

    A debugger (py-spy, gdb) then needs CAP_SYS_PTRACE, and there is no core file.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    """Where there is no such call, nothing happens: it is Linux's own."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
