"""System calls that are forbidden inside the sandbox, as a seccomp filter for bubblewrap."""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager

#: By machine: AUDIT_ARCH, then the numbers of calls that the code never needs and that no other
#: limit covers. These are ptrace, process_vm_readv and _writev, unshare, mount, shmget, msgget,
#: semget, socket, memfd_create, keyctl, add_key, request_key, bpf, perf_event_open, userfaultfd.
_FORBIDDEN = {
    "x86_64": (
        0xC000003E,
        (101, 310, 311, 272, 165, 29, 68, 64, 41, 319, 250, 248, 249, 321, 298, 323),
    ),
    "aarch64": (
        0xC00000B7,
        (117, 270, 271, 97, 40, 194, 186, 190, 198, 279, 219, 217, 218, 280, 241, 282),
    ),
}
#: Machines whose calls are known.
MACHINES = frozenset(_FORBIDDEN)
#: The same on every machine: io_uring_setup to _register, open_tree, move_mount, fsopen,
#: pidfd_getfd, mount_setattr, memfd_secret.
_FORBIDDEN_ANYWHERE = (425, 426, 427, 428, 429, 430, 438, 442, 447)
_LOAD = 0x20  # BPF_LD|W|ABS
_EQUAL = 0x15  # BPF_JMP|JEQ|K
_AT_LEAST = 0x35  # BPF_JMP|JGE|K
_RETURN = 0x06  # BPF_RET|K
_ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
_EPERM = 0x00050001  # SECCOMP_RET_ERRNO | EPERM


@contextmanager
def filter_program() -> Iterator[int]:
    """Yield a descriptor from which bubblewrap reads the filter: forbidden calls fail with EPERM.

    See seccomp(2).
    """
    architecture, numbers = _FORBIDDEN.get(platform.machine(), (0, ()))
    forbidden = (*numbers, *_FORBIDDEN_ANYWHERE)
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 0, len(forbidden) + 3, architecture), (_LOAD, 0, 0, 0)]
    steps.append((_AT_LEAST, len(forbidden) + 1, 0, 0x40000000))  # x32 calls have other numbers
    steps += [(_EQUAL, len(forbidden) - at, 0, number) for at, number in enumerate(forbidden)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)]
    reader, writer = os.pipe()
    try:
        with os.fdopen(writer, "wb") as stream:
            stream.write(b"".join(struct.pack("HBBI", *step) for step in steps))
        yield reader
    finally:
        os.close(reader)
