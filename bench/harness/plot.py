# SPDX-License-Identifier: MIT
"""The picture: a panel for each case, a bar for each peer, on a logarithmic scale where they are far apart."""

import workloads
from harness.peers import OURS

COLOURS = {
    OURS: "#c1272d", "python": "#888888", "greenlet": "#1b7837", "gevent": "#5aae61",
    "asyncio": "#4575b4", "asyncio-streams": "#91bfdb", "asyncio-protocol": "#4575b4",
    "uvloop": "#762a83", "uvloop-streams": "#af8dc3", "uvloop-protocol": "#762a83",
    "trio": "#b8860b", "go": "#00a0b0", "libev": "#444444",
}
ACROSS = 4  # panels in a row
WIDE = 20  # largest to smallest, from which a panel is logarithmic


def panels(results):
    """(title, unit, [(peer, minimum, median)]) of each case that has figures."""
    for name in results.workloads():
        unit = workloads.load(name).UNIT
        for case in results.cases(name):
            bars = [(peer, entry["min"], entry["median"]) for peer in results.peers(name)
                    if (entry := results.entry(name, case, peer)) and entry["samples"]]
            if bars and name != "floor":
                yield f"{name}  {case}", unit, bars


def draw(results, path):
    """Write the picture; the format follows the name. ImportError when there is no matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "microthread"
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    from matplotlib import pyplot

    found = list(panels(results))
    if not found:
        raise ValueError("nothing was measured that could be drawn")
    rows = -(-len(found) // ACROSS)
    figure, axes = pyplot.subplots(rows, ACROSS, figsize=(4.2 * ACROSS, 2.3 * rows), squeeze=False)
    for axis, (title, unit, bars) in zip(axes.flat, found):
        bars = bars[::-1]
        places = range(len(bars))
        axis.barh(places, [least for _, least, _ in bars], height=0.7,
                  color=[COLOURS.get(peer, "#999999") for peer, _, _ in bars])
        axis.plot([median for _, _, median in bars], places, "|", color="black", markersize=7)
        axis.set_yticks(places, [peer for peer, _, _ in bars], fontsize=7)
        largest = max(max(least, median) for _, least, median in bars)
        smallest = min(least for _, least, _ in bars)
        logarithmic = largest > WIDE * smallest > 0
        if logarithmic:
            axis.set_xscale("log")
            axis.set_xlim(smallest / 3, largest * 4)
        else:
            axis.set_xlim(0, largest * 1.25)
        for place, (_, least, _) in zip(places, bars):
            axis.annotate(f"{least:,.3g}" if least < 1000 else f"{least:,.0f}", (least, place), (4, 0),
                          textcoords="offset points", va="center", fontsize=6.5)
        axis.tick_params(axis="x", labelsize=6.5)
        axis.set_title(f"{title}  [{unit}{', log' if logarithmic else ''}]", fontsize=8.5)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    for axis in list(axes.flat)[len(found):]:
        axis.set_visible(False)
    machine = results.data["machine"]
    figure.suptitle(f"CPU time (memory: bytes), bar: minimum, mark: median of {results.rounds()}, "
                    f"less is better\nPython {machine['python']}, {machine['cpu']}, "
                    f"Linux {machine['kernel']}, {machine['started']}", fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.25 / (2.3 * rows)))
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.endswith(".svg") else None)
    pyplot.close(figure)
