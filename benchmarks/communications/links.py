"""Links by rate, round-trip time and loss, and what traffic takes on them: MODELLED seconds.

A call is a message and its answer, one after another, so that it takes a round trip and the time in which its bytes
pass at the link's rates: those of HTTP/2 and gRPC and, for each segment, of TCP, IP and Ethernet. A lost segment comes
a round trip later, what follows it waits, and its bytes pass twice; the sender's window never closes. Left out: slow
start, queues of others, changing rates, retries of the radio. Computing is no part of it.

Loss of a share p of a message's segments, each of which takes t seconds, delays the message's end by

    sum over j = 0, 1, ... below the number of segments and R / t of p (1 - p)^j (R - j t),  R the round-trip time:

the last lost one, j segments before the end, decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from .envelopes import FRAME_HEADER, HEADERS, framed
from .traffic import DOWN, Flow, way

SEGMENT, AROUND = 1448, 14 + 20 + 32
"""Bytes of a full TCP segment with time stamps at Ethernet's 1,500, and of the headers before it."""
CONNECTING = 2
"""Round trips before the first message: TCP's handshake, and the call that agrees on the training."""


@dataclass(frozen=True)
class Link:
    """A way between a device and its server."""

    name: str
    source: str
    uplink: float
    """bit/s"""
    downlink: float
    """bit/s"""
    round_trip: float
    """Seconds."""
    loss: float = 0.0
    """Share of segments that have to be sent again."""


WEBPAGETEST = "WebPageTest, connectivity.ini.sample (GitHub WPO-Foundation/webpagetest a7cf6a7)"
LINKS: Mapping[str, Link] = {
    link.name: link
    for link in (
        Link("3G", f"{WEBPAGETEST}, 3GFast: no loss", 7.68e5, 1.6e6, 0.150),
        Link("LTE", f"{WEBPAGETEST}, LTE: no loss", 1.2e7, 1.2e7, 0.070),
        Link(
            "5G",
            "rates: Cellsmart's survey of March to May 2022, 51 countries (capacitymedia.com); round trip: below it "
            "stay the best 5 % of users (arXiv 2507.18834, abstract); loss not told, taken as none",
            3.127e7,
            2.4161e8,
            0.020,
        ),
        Link("Wi-Fi", "Firefox, network monitor, throttling; loss not told, taken as none", 1.5e7, 3e7, 0.002),
    )
}


class Load(NamedTuple):
    """What passes on a link."""

    calls: int
    up: tuple[tuple[int, int], ...]
    """Bytes of a message with what gRPC and HTTP/2 put around it, and how many there are."""
    down: tuple[tuple[int, int], ...]


def load(flows: Iterable[Flow]) -> Load:
    """Messages by direction; what devices send to one another is sent and received."""
    up, down, calls = [], [], 0
    for form, times in flows:
        towards, size = way(form.sender, form.receiver), form.size + framed(form.size)
        calls += 0 if towards == DOWN else times
        if towards != DOWN:
            up.append((size + FRAME_HEADER, times))
        if towards == DOWN or form.receiver.startswith("device"):
            down.append((size + (HEADERS - 1) * FRAME_HEADER, times))
    return Load(calls, tuple(up), tuple(down))


def seconds(link: Link, passed: Load, devices: int = 1, connecting: int = CONNECTING) -> float:
    """On one of several links that are used at once; MODELLED."""
    up = sum(times * passing(size, link.uplink, link) for size, times in passed.up)
    down = sum(times * passing(size, link.downlink, link) for size, times in passed.down)
    return connecting * link.round_trip + (passed.calls * link.round_trip + up + down) / devices


def passing(size: int, rate: float, link: Link) -> float:
    """Seconds in which a message passes at a rate, the way itself left out."""
    segments = ceil(size / SEGMENT)
    bits = 8 * (size + segments * AROUND)
    return bits / rate / (1 - link.loss) + late(segments, bits / segments / rate, link)


def late(segments: int, each: float, link: Link) -> float:
    """Seconds by which loss delays a message's end, expected."""
    count = min(segments, ceil(link.round_trip / each)) if link.loss else 0
    return sum(link.loss * (1 - link.loss) ** j * (link.round_trip - j * each) for j in range(count))
