"""The history as one HTML page that needs nothing else: pictures inside, no script, no network."""
from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from ..bridge.messages import JobInfo

PICTURES = ("thumbnail", "input_thumbnail")
_STYLE = """body{font:14px/1.4 system-ui,sans-serif;margin:24px;background:#f4f4f4;color:#222}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(280px,1fr));gap:16px}
article{background:#fff;border:1px solid #ddd;border-radius:6px;padding:12px;overflow-wrap:anywhere}
img{height:128px;max-width:100%;margin-right:6px;background:#e8e8e8}
h2{font-size:16px;margin:8px 0 4px}dl{display:grid;grid-template-columns:auto 1fr;gap:2px 10px;margin:0}
dt{color:#777}dd{margin:0}.none{color:#777}"""
# Nothing may be loaded or run, whatever stands in a label: the page shows text of people and pictures of jobs only.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Card:
    """A job and those of PICTURES that it has, as PNG."""

    info: JobInfo
    pictures: Mapping[str, bytes]


def contact_sheet(cards: Iterable[Card]) -> str:
    """A page with one card a job, in the order given. All text is escaped."""
    body = "".join(map(_card, cards)) or '<p class="none">No jobs yet.</p>'
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            f"<title>Slipcast: history</title>\n<style>{_STYLE}</style></head>\n"
            f"<body><h1>Slipcast: history</h1>\n<main>{body}</main></body></html>\n")


def facts(info: JobInfo) -> dict[str, str]:
    """What a person wants to know of a job, by name."""
    told = {"job": info.job, "method": info.method, "state": info.state, "submitted": when(info.created_s)}
    if info.started_s is not None and info.ended_s is not None:
        told["took"] = f"{info.ended_s - info.started_s:.1f} s"
    if isinstance(info.summary.get("faces"), int):
        told["faces"] = f"{info.summary['faces']:,}"
    if isinstance(info.summary.get("device"), str):
        told["device"] = info.summary["device"]
    if info.state == "done":
        told["model's licence"] = info.licence or "no model was used"
    told["size"] = f"{info.bytes / 1e6:.1f} MB"
    told["settings"] = ", ".join(f"{name} {value}" for name, value in info.settings.items())
    if info.error is not None:
        told["error"] = f"{info.error.message} {info.error.hint}".strip()
    return told


def when(unix_s: float) -> str:
    """Local time, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s))


def _card(card: Card) -> str:
    encoded = {name: base64.b64encode(card.pictures[name]).decode() for name in PICTURES if name in card.pictures}
    pictures = "".join(f'<img alt="{name}" src="data:image/png;base64,{data}">' for name, data in encoded.items())
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts(card.info).items())
    title = escape(card.info.label or card.info.method)
    return f'<article>{pictures or "<p class=none>no picture</p>"}<h2>{title}</h2><dl>{rows}</dl></article>\n'
