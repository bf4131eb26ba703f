"""What the documentation shows is there, and nothing lies there that it does not show."""
from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MOST_BYTES = 300_000
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")      # of a page or a picture here; one with a colon is elsewhere


def _linked() -> dict[Path, list[str]]:
    return {page: _LINK.findall(page.read_text(encoding="utf-8")) for page in PAGES}


def test_every_link_to_a_file_leads_somewhere():
    found = _linked()
    assert sum(map(len, found.values())) > 10
    assert [(page.name, link) for page, links in found.items() for link in links
            if not (page.parent / link).exists()] == []


def test_every_picture_of_the_window_is_shown_and_small():
    shown = {(page.parent / link).resolve() for page, links in _linked().items() for link in links}
    pictures = sorted((ROOT / "docs" / "img").glob("*"))
    assert [picture.name for picture in pictures if picture not in shown] == []
    assert {picture.name: picture.stat().st_size for picture in pictures if picture.stat().st_size > MOST_BYTES} == {}
