"""Pages of tables, read as a browser reads them."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

_EMPTY = ("meta", "polyline")


class Page(HTMLParser):
    """Checks that every element is closed where it should be, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.classes: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in _EMPTY:
            self.open.append(tag)
        if tag == "td":
            self.classes.append(given.get("class") or "")
        if tag == "a":
            self.links.append(given.get("href") or "")
        assert tag not in ("script", "link", "img"), "the page needs nothing beside it"

    def handle_endtag(self, tag: str) -> None:
        if tag not in _EMPTY:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(text: str) -> Page:
    """Return a page that is well-formed."""
    page = Page()
    page.feed(text)
    assert page.open == []
    return page


def linked(file: Path) -> list[Path]:
    """Return what the links of a page lead to, as a browser that opened its file finds it."""
    page = page_of(file.read_text(encoding="utf-8"))
    urls = [urlsplit(urljoin(file.absolute().as_uri(), link)) for link in page.links]
    assert [(url.scheme, url.netloc, url.query, url.fragment) for url in urls] == [
        ("file", "", "", "")
    ] * len(urls)
    return [Path(url2pathname(url.path)) for url in urls]
