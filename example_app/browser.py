"""A very small web browser, so that the demo goes through the same pages as a person."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener

TIMEOUT = 30  # seconds for one page


@dataclass(slots=True)
class Form:
    """One form of a page with the values that a browser would send."""

    action: str
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """What the server answered."""

    url: str
    status: int
    html: str
    forms: tuple[Form, ...]

    def form_with(self, name: str) -> Form:
        """The first form with a field of that name; LookupError if there is none."""
        for form in self.forms:
            if name in form.values:
                return form
        raise LookupError(f"{self.url} answered {self.status}, without a form with {name!r}")


class Browser:
    """Keeps cookies, follows redirects, sends forms."""

    def __init__(self, base: str) -> None:
        self._base = base
        # Without a proxy: the pages are on this machine.
        self._opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()))

    def get(self, url: str) -> Page:
        """Open a page; one that answers 4xx or 5xx is a page too."""
        return self._open(url, None)

    def submit(self, page: Page, form: Form, **values: str) -> Page:
        """Send a form of a page with some values changed."""
        return self._open(urljoin(page.url, form.action), urlencode(form.values | values).encode())

    def _open(self, url: str, data: bytes | None) -> Page:
        try:
            response = self._opener.open(urljoin(self._base, url), data, TIMEOUT)
        except HTTPError as error:
            response = error
        with response:
            html = response.read().decode()
            return Page(response.url, response.status, html, forms_of(html))


class _FormReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._open: Form | None = None
        self._select: str | None = None
        self._area: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(given.get("action", ""))
            self.forms.append(self._open)
        elif self._open:
            self._field(self._open.values, tag, given)

    def _field(self, values: dict[str, str], tag: str, given: dict[str, str]) -> None:
        name = given.get("name", "")
        if tag == "input" and name:
            self._input(values, name, given)
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and self._chosen(values, given):
            values[self._select] = given.get("value", "")
        elif tag == "textarea":
            self._area = name
            values[name] = ""

    def _chosen(self, values: dict[str, str], given: dict[str, str]) -> bool:
        return "selected" in given or self._select not in values

    def _input(self, values: dict[str, str], name: str, given: dict[str, str]) -> None:
        kind = given.get("type", "text")
        if kind in ("checkbox", "radio"):
            if "checked" in given:
                values[name] = given.get("value", "on")
        elif kind not in ("submit", "button", "file"):
            values[name] = given.get("value", "")

    def handle_data(self, data: str) -> None:
        if self._area and self._open:
            # HTML drops the line break that directly follows the opening tag.
            self._open.values[self._area] += data.removeprefix("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select":
            self._select = None
        elif tag == "textarea":
            self._area = None


def forms_of(html: str) -> tuple[Form, ...]:
    """The forms of a page, as they would be sent."""
    reader = _FormReader()
    reader.feed(html)
    reader.close()
    return tuple(reader.forms)
