"""What every drawing is made of: a frame that says in words what it shows, and the marks of values and twins.

Coordinates are user units. Colours come from the page's style sheet.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup


def drawing(identity: str, title: str, said: str, size: tuple[int, float], body: Iterable[Markup]) -> Markup:
    """An image with its title and description; `size` is width and height."""
    return Markup(
        '<svg viewBox="0 0 {w} {h}" role="img" aria-labelledby="{i}-t {i}-d"><title id="{i}-t">{t}</title>'
        '<desc id="{i}-d">{d}</desc>{b}</svg>'
    ).format(w=size[0], h=round(size[1]), i=identity, t=title, d=said, b=Markup("").join(body))


def line(style: str, start: tuple[float, float], end: tuple[float, float]) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(style, *start, *end)


def text(style: str, x: float, y: float, shown: object) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(style, x, y, shown)


def value_mark(x: float, y: float, style: str, radius: float = 5) -> Markup:
    """An attack's own value: a square where it resists, otherwise a circle, which the page fills where it leaks."""
    if style == "resists":
        corner, side = (x - 0.9 * radius, y - 0.9 * radius), 1.8 * radius
        return Markup('<rect class="mark resists" x="{}" y="{}" width="{s:g}" height="{s:g}"/>').format(
            *(round(at, 1) for at in corner), s=side
        )
    return Markup('<circle class="mark {}" cx="{}" cy="{}" r="{:g}"/>').format(style, x, y, radius)


def twin_mark(x: float, y: float, style: str, radius: float = 5) -> Markup:
    """A diamond for the outsider, a cross for the rest of the view."""
    shape = "M0 -5L5 0L0 5L-5 0Z" if style == "outsider" else "M-4 -4L4 4M-4 4L4 -4"
    return Markup('<path class="mark {}" transform="translate({} {}) scale({:g})" d="{}"/>').format(
        style, x, y, radius / 5, shape
    )
