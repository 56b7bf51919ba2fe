"""Pages as a browser sets them, wide and narrow: nothing is cut, and no page is wider than its window."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simenv.reports.report import report
from simenv.rundir import RunDir

MakeRun = Callable[..., RunDir]
BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
LOOK = """
onload = () => {
  const page = document.querySelector("iframe").contentDocument, found = {wide: page.documentElement.scrollWidth};
  found.outside = [...page.querySelectorAll("svg text")].filter(text => {
    const box = text.getBBox(), view = text.ownerSVGElement.viewBox.baseVal;
    return box.x < -0.5 || box.x + box.width > view.width + 0.5;
  }).map(text => text.textContent);
  found.cut = [...page.querySelectorAll("th, td, h1, h2, h3, p, summary, dd")].filter(
    one => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display != "inline"
      && getComputedStyle(one).overflowX != "visible").map(one => one.textContent);
  found.wider = [...page.querySelectorAll(".reading")].filter(
    one => one.scrollWidth > one.parentElement.clientWidth + 1).length;
  found.count = page.querySelectorAll("svg text").length;
  document.title = JSON.stringify(found);
};
"""


def looked_at(page: str, width: int, folder: Path) -> dict[str, Any]:
    """Return what a browser tells of a page in a window of this width, all its details open."""
    page = page.replace("<details", "<details open")
    path = folder / "window.html"
    frame = f'<iframe style="width: {width}px; height: 900px; border: 0" srcdoc="{html.escape(page)}"></iframe>'
    path.write_text(f"<!doctype html><title></title><body>{frame}<script>{LOOK}</script>", encoding="utf-8")
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    told = subprocess.run(
        [*words, "--virtual-time-budget=5000", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    title = re.search(r"<title>(.*?)</title>", told.stdout, re.S)
    assert title is not None, told.stderr
    found: dict[str, Any] = json.loads(html.unescape(title[1]))
    return found


@pytest.mark.skipif(not BROWSER, reason="no browser on this machine (chromium or google-chrome)")
@pytest.mark.parametrize("width", [1400, 390])
def test_nothing_is_cut_in_a_browser(make_run: MakeRun, tmp_path: Path, width: int):
    figure = {"mean": 0.5, "low": -0.4, "high": 0.6, "verdict": "pass", "rule": "at least 0.01; fails below -0.2"}
    name = "balanced accuracy less that of user mean + item mean, equally well-known items"
    behaviour = {
        "test": "behaviour",
        "question": "Do they browse as people do?",
        "verdict": "pass",
        "note": "looks down the page",
        "figures": [{"name": name, **figure}, {"name": name, **figure, "verdict": ""}],
        "tables": [{"title": "Share viewed by place", "heads": ["place", "viewed"], "rows": [["1", 0.54]]}],
    }
    run = make_run({"item-knn-with-neighbours-100": 4.0, "item-knn-with-neighbours-20": 3.0, "oracle": 9.0, "w": 1.0})
    told = {"users": 300, "asked": 1000, "seconds": 1.0, "verdict": "pass", "note": "", "tests": [behaviour]}
    run.write_json("fidelity.json", told)

    found = looked_at(report(RunDir.open(run.folder)), width, tmp_path)

    assert found["count"] > 50
    assert found["wide"] <= width
    assert found["outside"] == []
    assert found["cut"] == []
    assert found["wider"] == 0
