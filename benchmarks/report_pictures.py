"""The pictures of a report in docs/tutorial.md: the page that the tutorial makes, as a browser shows it.

python benchmarks/report_pictures.py [FOLDER]

Chromium or Chrome must be in PATH. FOLDER is docs/ if not given.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

ROOT = Path(__file__).resolve().parents[1]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

WIDTH, HEIGHT = 1280, 2400
"""Of the window, in pixels; the pictures end where the page does."""

PICTURES = {
    "report-costs.webp": "main > section:nth-of-type(n+3), footer",
    "report-limits.webp": "h1, h1 + p, main > section:not(:nth-of-type(3)), footer",
}
"""What of the page each leaves out, as a CSS selector: one shows its top, the other a section of figures."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs", metavar="FOLDER")
    folder = parser.parse_args().folder
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is in PATH")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        command = ["report", str(ROOT / "models/digits.tflite"), "--out", str(work / "digits"), "--quiet"]
        subprocess.run([sys.executable, "-m", "eightfold.cli", *command], check=True)
        page = (work / "digits/report.html").read_text(encoding="utf-8")
        for picture, hidden in PICTURES.items():
            style = f"<style>{hidden} {{ display: none }} main {{ padding: 20px }} section > h2 {{ margin-top: 28px }}"
            (work / "page.html").write_text(page.replace("</head>", f"{style}</style></head>"), encoding="utf-8")
            shot = photograph(browser, work / "page.html")
            shot.save(folder / picture, lossless=True, method=6)
            print(f"{folder / picture}: {shot.width} x {shot.height}, {(folder / picture).stat().st_size:,} bytes")


def photograph(browser: str, page: Path) -> Image.Image:
    """What a browser shows of a page, in light colours, without the empty rows below it."""
    shot = page.with_suffix(".png")
    options = ["--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={page.parent / 'browser'}"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # which Chromium has for other users only
    command = [browser, *options, f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}", page.as_uri()]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    with Image.open(shot) as image:
        pixels = image.convert("RGB")
    empty = Image.new("RGB", pixels.size, pixels.getpixel((0, pixels.height - 1)))
    box = ImageChops.difference(pixels, empty).getbbox()
    return pixels.crop((0, 0, WIDTH, min(HEIGHT, box[3] + 20))) if box else pixels


if __name__ == "__main__":
    main()
