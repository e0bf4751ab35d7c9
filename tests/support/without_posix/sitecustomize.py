"""Windows as far as Linux can play it, in any interpreter that has this folder in PYTHONPATH.

What POSIX alone has is hidden from the code of the package, which takes the system for Windows; libraries have their
own ways there, which can't be tried here. Files that any process has open can be neither deleted nor replaced.
"""

import builtins
import errno
import os
import select
import shutil
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

_MODULES = {"crypt", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
_OS = """
    O_CLOEXEC O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC WNOHANG chown chroot confstr ctermid fchdir fchmod
    fchown fdatasync fork forkpty fstatvfs getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority
    getuid killpg lchown lockf memfd_create mkfifo mknod nice openpty pipe2 posix_fadvise posix_fallocate
    posix_spawn pread preadv pwrite pwritev register_at_fork sched_getaffinity sched_setaffinity sendfile setegid
    seteuid setgid setpgid setpriority setsid setuid statvfs sync sysconf ttyname uname wait wait3 wait4 waitid
"""
_SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
"""Those that Windows has."""
_SIGNAL = "Sigmasks alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait"
_SELECT = "EPOLLIN POLLERR POLLHUP POLLIN epoll poll"


def _is_own(names: Mapping[str, Any]) -> bool:
    """Whether a module is of the package, or the program of its decoder processes."""
    name = str(names.get("__name__"))
    return name.partition(".")[0] == "mdx_progressive" or (
        name == "__main__" and "mdx_progressive" in Path(str(names.get("__file__"))).parts
    )


def _hide(module: ModuleType, names: Iterable[str], others: Mapping[str, str] | None = None) -> None:
    hidden, replaced = set(names), others or {}

    class Hidden(ModuleType):
        def __getattribute__(self, name: str) -> Any:
            if (name in hidden or name in replaced) and _is_own(sys._getframe(1).f_globals):
                if name in replaced:
                    return replaced[name]
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r} without POSIX")
            return ModuleType.__getattribute__(self, name)

    module.__class__ = Hidden


def _import(
    name: str, globals: Mapping[str, Any] | None = None, locals: Any = None, fromlist: Any = (), level: int = 0,  # noqa: A002
) -> ModuleType:  # fmt: skip
    if not level and name in _MODULES and globals and _is_own(globals):
        raise ModuleNotFoundError(f"No module named {name!r} without POSIX", name=name)
    return _imported(name, globals, locals, fromlist, level)


def _is_open(path: object) -> bool:
    try:
        wanted = os.lstat(path)  # type: ignore[arg-type]
    except OSError:
        return False
    if not stat.S_ISREG(wanted.st_mode) or str(path).endswith(".lock"):  # Which `filelock` deletes itself on Windows.
        return False
    for place in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            found = os.stat(place)
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def _keep_open_files(name: str, paths: int) -> None:
    change: Callable[..., Any] = getattr(os, name)

    def changed(*arguments: Any, **more: Any) -> Any:
        for path in arguments[:paths]:
            if _is_open(path):
                raise PermissionError(errno.EACCES, "it is being used by another process", str(path))
        return change(*arguments, **more)

    setattr(os, name, changed)


_imported = builtins.__import__
builtins.__import__ = _import
shutil._use_fd_functions = False  # type: ignore[attr-defined] # Else names come without their folders.
for _name, _paths in (("unlink", 1), ("remove", 1), ("rename", 2), ("replace", 2)):
    _keep_open_files(_name, _paths)
_hide(os, _OS.split(), {"name": "nt"})
_hide(signal, [*_SIGNAL.split(), *({name for name in dir(signal) if name.startswith("SIG")} - _SIGNALS)])
_hide(select, _SELECT.split())
_hide(socket, ["AF_UNIX"])
_hide(time, ["tzset"])
_hide(sys, [], {"platform": "win32"})
