"""Peak memory of a process."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_memory(process: int | None = None) -> int:
    """Largest resident memory of a process so far, this one's without a number, in bytes; 0 once it is gone.

    Linux's getrusage also counts what the parent held before this program was started, so its `VmHWM` is read instead.
    Elsewhere only this process can be asked.
    """
    status = Path(f"/proc/{process or 'self'}/status")
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(encoding="utf-8"), re.M)
    except OSError:
        found = None
    if found or process is not None:
        return int(found[1]) * 1024 if found else 0
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others kibibytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
