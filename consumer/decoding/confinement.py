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
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446  # on every architecture
_LANDLOCK_VERSION = 1
_FILE_RIGHTS = {0: 0, 1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights on files each version of Landlock knows; later ones know 16."""


def confine() -> None:
    """From now on this process can compute, hold memory and use the descriptors that are open, and little else.

    ======================  =====================================================================================
    ``RLIMIT_NOFILE`` 0     no descriptor beside those that are open: no file, socket, pipe, timer, io_uring
    ``RLIMIT_FSIZE`` 0      no byte into a file, should one of those be one
    ``RLIMIT_NPROC`` 0      no process and no thread (counted by user, but judged by this process's limit alone)
    ``no_new_privs``        no program of more rights (setuid)
    standard error          goes nowhere: the service's log takes no line from a stranger
    Landlock                nothing made, removed, renamed or linked by name; no other process traced and, from
                            Linux 6.12 on, none ended. Linux 5.13 and later, where it is switched on
    ======================  =====================================================================================

    Whatever is read later, be it a module or ``/proc``, must be open or imported by now.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _lock_out()
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE):
        resource.setrlimit(limit, (0, 0))


def close_memory() -> None:
    """Other processes of this user can no longer read this one's memory and environment, nor trace it.

    A debugger (py-spy, gdb) then needs CAP_SYS_PTRACE, and there is no core file.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


def landlock_version() -> int:
    """Of Landlock's interface; 0 where there is none."""
    return max(0, _syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)) if sys.platform == "linux" else 0


def _lock_out() -> None:
    """Every right that this kernel's Landlock knows is taken away, and no rule gives one back."""
    if not (version := landlock_version()):
        return
    files = 2 ** _FILE_RIGHTS.get(version, 16) - 1
    connections = 0b11 if version >= 4 else 0
    beyond_itself = 0b11 if version >= 6 else 0  # abstract sockets and signals
    rights = (ctypes.c_uint64 * 3)(files, connections, beyond_itself)  # struct landlock_ruleset_attr
    rules = _syscall(_LANDLOCK_CREATE_RULESET, rights, ctypes.sizeof(rights), 0)
    if rules >= 0:
        _syscall(_LANDLOCK_RESTRICT_SELF, rules, 0)
        os.close(rules)


def _syscall(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None).syscall(number, *arguments))


def _prctl(option: int, value: int) -> None:
    """Where there is no such call, nothing happens: it is Linux's own."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
