"""Peak memory of this process."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes.

    Linux's getrusage also counts what the parent held before this program was started, so its `VmHWM` is read instead.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"), re.M)):
        return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
