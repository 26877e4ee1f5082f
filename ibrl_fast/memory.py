"""How much memory is left."""

from __future__ import annotations

from pathlib import Path


def available_host_bytes() -> int:
    """Return the bytes that this process can still allocate on the host, within its cgroup.

    Raises:
        OSError: a system that does not say.
    """
    # the kernel's estimate of what is left without swapping
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii")
    kilobytes = [line.split()[1] for line in meminfo.splitlines() if line.startswith("MemAvailable:")]
    if not kilobytes:
        raise OSError("/proc/meminfo: expected MemAvailable, got none")
    free = int(kilobytes[0]) * 1024

    # a container's limit may be lower; its file cache can be given up
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            used = int((group / "memory.current").read_text(encoding="ascii"))
            stat = dict(
                line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines()
            )
            free = min(free, int(limit) - used + int(stat.get("inactive_file", 0)))
    except OSError:
        pass
    return max(free, 0)
