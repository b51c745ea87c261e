"""What axe-core finds in an opened page, and the contrast of texts that it leaves undecided."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...system.errors import UsageError
from .devtools import Devtools

UNFOLDED = "for (const one of document.querySelectorAll('details')) one.open = true"
"""axe-core judges nothing that is folded."""
JUDGED = r"""(async () => {
  const found = await axe.run({elementRef: true, resultTypes: ["violations", "incomplete"]});
  const numbers = color => color.startsWith("rgb") ? color.match(/[\d.]+/g).map(Number) : [];
  const solid = color => { const [r, g, b, alpha = 1] = numbers(color); return alpha === 1 && b !== undefined; };
  const light = color => [0.2126, 0.7152, 0.0722].reduce((sum, weight, at) => {
    const part = numbers(color)[at] / 255;
    return sum + weight * (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  }, 0.05);
  const inside = (text, shape) => {
    const [a, b] = [text.getBoundingClientRect(), shape.getBoundingClientRect()];
    const [x, y] = [(a.left + a.right) / 2, (a.top + a.bottom) / 2];
    return b.left <= x && x <= b.right && b.top <= y && y <= b.bottom
      && shape.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING;
  };
  const painted = text => [...text.ownerSVGElement.querySelectorAll("circle, rect, path")]
    .filter(shape => inside(text, shape)).map(shape => getComputedStyle(shape).fill).filter(solid).pop();
  const ground = one => {
    for (; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (solid(color)) return color;
    }
    return "";
  };
  const contrast = one => {
    const drawn = one.ownerSVGElement, style = getComputedStyle(one);
    const both = [light(drawn ? style.fill : style.color), light((drawn && painted(one)) || ground(one))];
    return Math.max(...both) / Math.min(...both);
  };
  const named = node => node.target.join(" ");
  const open = found.incomplete.flatMap(rule => rule.nodes.map(node => ({id: rule.id, node})));
  const texts = open.filter(({id}) => id === "color-contrast").map(({node}) => ({node, ratio: contrast(node.element)}));
  return {
    width: innerWidth,
    violations: found.violations.map(rule => `${rule.id}: ${rule.help} (${rule.nodes.length}) `
      + rule.nodes.slice(0, 3).map(node => `${named(node)} ${(node.any[0] || {}).message}`).join("; ")),
    pale: texts.filter(({ratio}) => !(ratio >= 4.5)).map(({node, ratio}) => `${named(node)}: contrast ${ratio}`),
    measured: texts.length,
    undecided: open.filter(({id}) => id !== "color-contrast").map(({id, node}) => `${id}: ${named(node)}`),
  };
})()"""
"""axe-core leaves texts undecided that are in drawings, out of sight or of one letter: their colour is held here
against what is painted below them or the nearest ground (WCAG 2.2, 1.4.3: at least 4.5)."""


@dataclass(frozen=True)
class Found:
    """What is wrong with a page for who cannot see it well."""

    width: int
    """Of the view when it was judged."""
    violations: tuple[str, ...]
    """Of axe-core."""
    pale: tuple[str, ...]
    """Texts of too little contrast among those that axe-core left undecided."""
    measured: int
    """How many these were."""
    undecided: tuple[str, ...]
    """What axe-core left undecided beside contrast."""


def found(tools: Devtools, axe: Path) -> Found:
    """Unfold an opened page and judge it; a UsageError where the file is not axe-core."""
    if not axe.is_file() or "axe" not in (script := axe.read_text(encoding="utf-8", errors="replace")):
        raise UsageError(f"{axe} is not axe-core; give the axe.min.js of its package")
    tools.value(f"{script};0")
    tools.value(UNFOLDED)
    judged: dict[str, Any] = tools.value(JUDGED)
    lists = {name: tuple(judged[name]) for name in ("violations", "pale", "undecided")}
    return Found(width=judged["width"], measured=judged["measured"], **lists)
