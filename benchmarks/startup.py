"""What the extension costs a host that sends nothing: at its start, and at each request."""

from __future__ import annotations

from .harness import PINNED, Figure, Goal, Options, Samples, Spread, Table, child, number, progress

_KINDS = ("without", "with")


def measure(options: Options) -> Figure:
    figure = Figure("8", "What a host pays that sends nothing")
    start, request = _rounds(options)
    figure.tables += [
        _table("Import of everything and init_app, ms", start),
        _table("A request that sends nothing, µs", request),
    ]
    figure.goals += [
        Goal("import and init_app, beyond the host without us", "<=", 50, _beyond(start), "ms"),
        Goal(
            "a request that sends nothing, beyond the host without us",
            "<=",
            20,
            _beyond(request),
            "µs",
        ),
    ]
    return figure


def _rounds(options: Options) -> tuple[Samples, Samples]:
    start: Samples = {kind: [] for kind in _KINDS}
    request: Samples = {kind: [] for kind in _KINDS}
    for _ in range(options.rounds):
        starts: Samples = {kind: [] for kind in _KINDS}
        for _ in range(options.size(8, 3)):
            for kind in _KINDS:
                done = child("bare", f"start_{kind}", cpu=PINNED)
                starts[kind].append(done["ms"])
        for kind in _KINDS:
            start[kind].append(Spread.of(starts[kind]).median)
            given = {"count": options.size(8000, 500)}
            request[kind].append(child("bare", f"requests_{kind}", cpu=PINNED, **given)["us"])
        progress(
            f"{start['with'][-1] - start['without'][-1]:.1f} ms, "
            f"{request['with'][-1] - request['without'][-1]:.1f} µs"
        )
    return start, request


def _beyond(samples: Samples) -> Spread:
    pairs = zip(samples["with"], samples["without"], strict=True)
    return Spread.of([having - bare for having, bare in pairs])


def _table(title: str, samples: Samples) -> Table:
    table = Table(title, ["", "median", "min", "max"])
    for kind in _KINDS:
        spread = Spread.of(samples[kind])
        cells = map(number, (spread.median, spread.low, spread.high))
        table.rows.append([f"the host {kind} us", *cells])
    return table
