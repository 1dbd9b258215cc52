"""The system calls of a jailed process: what it may make and why, what no guest ever makes, and their numbers.

Whatever is in neither table is refused with EPERM. Called by `seccomp`; numbers from the kernel's syscall tables of
x86_64 and aarch64 (None where the architecture has no such call).
"""

from collections.abc import Iterable

from plugyard.sandbox.jail.native import MACHINE

AUDIT_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
Table = dict[str, tuple[int | None, int | None]]
Reasoned = dict[str, tuple[int | None, int | None, str]]

_COLUMN = {"x86_64": 0, "aarch64": 1}

# name: (x86_64, aarch64, why a jailed process needs it)
ALLOWED: Reasoned = {
    "recvfrom": (45, 207, "frames from the service, as Python's socket reads them"),
    "sendto": (44, 206, "frames to the service, as Python's socket writes them"),
    "poll": (7, None, "waiting for the service with a timeout"),
    "ppoll": (271, 73, "the same where the C library chooses it"),
    "close": (3, 57, "giving descriptors back"),
    "mmap": (9, 222, "memory, never executable, and private, so that its limit counts it"),
    "mprotect": (10, 226, "growing the guest's linear memory, never executable"),
    "munmap": (11, 215, "giving memory back"),
    "mremap": (25, 216, "growing large blocks of the C library's heap"),
    "brk": (12, 214, "the C library's heap"),
    "madvise": (28, 233, "giving unused pages back"),
    "futex": (202, 98, "locks of the interpreter and the engine: waiting and waking alone"),
    "rt_sigaction": (13, 134, "the engine's trap handlers"),
    "rt_sigprocmask": (14, 135, "the engine's trap handlers and abort"),
    "rt_sigreturn": (15, 139, "returning from a trap handler"),
    "sigaltstack": (131, 132, "the stack of the trap handlers"),
    "clock_gettime": (228, 113, "clocks of the machine and its own, where the vDSO falls back to the kernel"),
    "clock_nanosleep": (230, 115, "sleeping"),
    "restart_syscall": (219, 128, "sleeping, after the process was stopped and continued"),
    "getrandom": (318, 278, "randomness of the guest"),
    "sched_yield": (24, 124, "spinning locks of the engine"),
    "getpid": (39, 172, "abort and locks"),
    "gettid": (186, 178, "abort and locks"),
    "tgkill": (234, 131, "abort: only to the process itself"),
    "prlimit64": (302, 261, "lowering the limit of private memory: only of the process itself"),
    "exit": (60, 93, "ending"),
    "exit_group": (231, 94, "ending"),
}

# Beside the above for a process that parses a file which was handed over as a descriptor.
READING: Reasoned = {
    "read": (0, 63, "reading the file"),
    "lseek": (8, 62, "moving in the file"),
}

# Beside the above for a process that takes in machine code which the service compiled, until it is sealed.
MAPPING: Reasoned = {
    "seccomp": (317, 277, "laying the strict filter over this one"),
    "membarrier": (324, 283, "making fresh code known to the processor, where the engine must ask for it"),
}

# No guest, interpreter or engine ever makes these: whoever tries has taken over the process, so it dies at once. What
# an honest library may try, and gives up when refused, is not here: opening files, sockets, threads, memory by name.
FATAL_BY_PURPOSE: dict[str, Table] = {
    "running another program, or becoming another process": {
        "execve": (59, 221),
        "execveat": (322, 281),
        "fork": (57, None),
        "vfork": (58, None),
    },
    "reaching into another process, or signalling it": {
        "ptrace": (101, 117),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "process_madvise": (440, 440),
        "process_mrelease": (448, 448),
        "migrate_pages": (256, 238),
        "move_pages": (279, 239),
        "kcmp": (312, 272),
        "pidfd_open": (434, 434),
        "pidfd_getfd": (438, 438),
        "pidfd_send_signal": (424, 424),
        "kill": (62, 129),
        "tkill": (200, 130),
        "rt_sigqueueinfo": (129, 138),
        "rt_tgsigqueueinfo": (297, 240),
    },
    "using a socket that it cannot have": {
        "connect": (42, 203),
        "bind": (49, 200),
        "listen": (50, 201),
        "accept": (43, 202),
        "accept4": (288, 242),
        "recvmmsg": (299, 243),
        "sendmmsg": (307, 269),
    },
    "sharing memory, queues or semaphores": {
        "shmget": (29, 194),
        "shmat": (30, 196),
        "shmctl": (31, 195),
        "shmdt": (67, 197),
        "semget": (64, 190),
        "semop": (65, 193),
        "semctl": (66, 191),
        "semtimedop": (220, 192),
        "msgget": (68, 186),
        "msgsnd": (69, 189),
        "msgrcv": (70, 188),
        "msgctl": (71, 187),
        "mq_open": (240, 180),
        "mq_unlink": (241, 181),
        "mq_timedsend": (242, 182),
        "mq_timedreceive": (243, 183),
        "mq_notify": (244, 184),
        "mq_getsetattr": (245, 185),
    },
    "parts of the kernel with a history of holes": {
        "bpf": (321, 280),
        "perf_event_open": (298, 241),
        "userfaultfd": (323, 282),
        "io_uring_setup": (425, 425),
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
        "io_setup": (206, 0),
        "io_submit": (209, 2),
        "keyctl": (250, 219),
        "add_key": (248, 217),
        "request_key": (249, 218),
        "fanotify_init": (300, 262),
        "name_to_handle_at": (303, 264),
        "open_by_handle_at": (304, 265),
        "modify_ldt": (154, None),
        "pkey_mprotect": (329, 288),
        "remap_file_pages": (216, 234),
    },
    "mounts, roots and namespaces": {
        "mount": (165, 40),
        "umount2": (166, 39),
        "move_mount": (429, 429),
        "open_tree": (428, 428),
        "fsopen": (430, 430),
        "fsconfig": (431, 431),
        "fsmount": (432, 432),
        "fspick": (433, 433),
        "mount_setattr": (442, 442),
        "pivot_root": (155, 41),
        "chroot": (161, 51),
        "unshare": (272, 97),
        "setns": (308, 268),
    },
    "the machine itself": {
        "init_module": (175, 105),
        "finit_module": (313, 273),
        "delete_module": (176, 106),
        "kexec_load": (246, 104),
        "kexec_file_load": (320, 294),
        "reboot": (169, 142),
        "swapon": (167, 224),
        "swapoff": (168, 225),
        "acct": (163, 89),
        "quotactl": (179, 60),
        "quotactl_fd": (443, 443),
        "syslog": (103, 116),
        "vhangup": (153, 58),
        "iopl": (172, None),
        "ioperm": (173, None),
        "sethostname": (170, 161),
        "setdomainname": (171, 162),
    },
    "the machine's clocks": {
        "clock_settime": (227, 112),
        "settimeofday": (164, 170),
        "adjtimex": (159, 171),
        "clock_adjtime": (305, 266),
    },
    "becoming somebody else": {
        "personality": (135, 92),
        "capset": (126, 91),
        "setuid": (105, 146),
        "setgid": (106, 144),
        "setreuid": (113, 145),
        "setregid": (114, 143),
        "setresuid": (117, 147),
        "setresgid": (119, 149),
        "setfsuid": (122, 151),
        "setfsgid": (123, 152),
        "setgroups": (116, 159),
    },
}
FATAL: Table = {name: row for table in FATAL_BY_PURPOSE.values() for name, row in table.items()}

# Called by the jail itself while it closes, and by the escape tests.
OTHER: Table = {
    "write": (1, 64),
    "pread64": (17, 67),
    "open": (2, None),
    "openat": (257, 56),
    "openat2": (437, 437),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "sendmsg": (46, 211),
    "recvmsg": (47, 212),
    "clone": (56, 220),
    "clone3": (435, 435),
    "memfd_create": (319, 279),
    "unlinkat": (263, 35),
    "mkdirat": (258, 34),
    "getdents64": (217, 61),
    "readlinkat": (267, 78),
    "statx": (332, 291),
    "dup": (32, 23),
    "pipe2": (293, 59),
    "eventfd2": (290, 19),
    "epoll_create1": (291, 20),
    "inotify_init1": (294, 26),
    "setsid": (112, 157),
    "prctl": (157, 167),
    "ioctl": (16, 29),
    "uname": (63, 160),
    "sysinfo": (99, 179),
}


_NUMBERS: Table = {
    **{name: (intel, arm) for name, (intel, arm, _) in {**ALLOWED, **READING, **MAPPING}.items()},
    **FATAL,
    **OTHER,
}


def number_of(name: str) -> int:
    """The number of a call on this machine; raises OSError where the machine or the call is unknown."""
    number = _NUMBERS[name][_COLUMN[MACHINE]] if name in _NUMBERS and MACHINE in _COLUMN else None
    if number is None:
        raise OSError(f"no number is known for {name} on {MACHINE}")
    return number


def numbers(names: Iterable[str]) -> dict[str, int]:
    """The numbers of these calls on this machine, without the calls that it lacks."""
    column = _COLUMN[MACHINE]
    return {name: number for name in names if (number := _NUMBERS[name][column]) is not None}
