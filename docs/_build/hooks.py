"""What MkDocs does not do by itself: pages made from docstrings, files that lie outside of docs/, links to the reference,
and a last look at the built site. Everything that is wrong stops a strict build."""

import logging
import os
import posixpath
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import api
import jsep
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url

from jsep import report

LOG = logging.getLogger("mkdocs.hooks.jsep")
ROOT = Path(__file__).resolve().parents[2]

OUTSIDE = (
    "BUILD.md", "CHANGELOG.md", "LICENSE",
    "benchmarks/README.md", "experiments/README.md", "experiments/flags/*.flags", "results/*.md", "results/*/README.md",
)  # fmt: skip
OUTSIDE_ASSETS = ("results/*/*.png", "results/*/result.json", "notebooks/*.ipynb")

MARKDOWN_LINK = re.compile(r"(\]\()(?!\w+:|#|//)([^)#\s]+)")
EXTERNAL_SOURCE = re.compile(r"<(?:script|img|iframe|source)[^>]+(?:src|srcset)=[\"']?(?:https?:)?//[^>]*>")
EXTERNAL_LINK = re.compile(r"<link[^>]+href=[\"']?(?:https?:)?//[^>]*>")
EXTERNAL_IN_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*")


SHOWN = "digits_sep"
"""The result whose page is part of the site, drawn from its files in results/."""

COMPARED = ("digits_sep", "baseline_sep_quick")
"""The results of the page that compares several: on the same pairs of images, and attacked alike."""


def pages() -> dict[str, str]:
    """The page of a run and one that compares runs, by their places in the site."""
    with tempfile.TemporaryDirectory() as name:
        copy, compared = Path(name) / SHOWN, Path(name) / "compare.html"
        shutil.copytree(ROOT / "results" / SHOWN, copy)
        report.write_comparison([ROOT / "results" / each for each in COMPARED], compared)
        return {"pages/run.html": report.write(copy).read_text(), "pages/compare.html": compared.read_text()}


def outside() -> dict[Path, str]:
    """The files outside of docs/ that are part of the site, and where."""
    paths = [path for pattern in (*OUTSIDE, *OUTSIDE_ASSETS) for path in sorted(ROOT.glob(pattern))]
    return {path: f"project/{path.name}" if path.parent == ROOT else str(path.relative_to(ROOT)) for path in paths}


def on_config(config: Any) -> Any:
    """Stops where a public name has no docstring."""
    missing = api.undocumented()
    if missing:
        raise PluginError(f"public names without a docstring: {', '.join(missing)}")
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the reference and the files from outside of docs/."""
    files.append(File.generated(config, "api/index.md", content=api.index()))
    for part in jsep.__all__:
        files.append(File.generated(config, f"api/{part}.md", content=api.page(part)))
    for uri, content in pages().items():
        files.append(File.generated(config, uri, content=content))
    for path, uri in outside().items():
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turns the links that are true in the repository into those that are true in the site."""
    if page.file.generated_by and not page.file.abs_src_path:
        return markdown
    docs, places = Path(config.docs_dir), outside()
    folder = Path(page.file.abs_src_path).parent

    def place(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / match[2]))
        if target.is_relative_to(docs):
            uri = str(target.relative_to(docs))
        elif target in places:
            uri = places[target]
        elif target.exists():
            LOG.warning("%s links to %s, which is no part of the site", page.file.src_uri, match[2])
            return match[0]
        else:
            return match[0]  # MkDocs itself complains, unless it is a generated page
        return match[1] + posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".")

    return MARKDOWN_LINK.sub(place, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Makes a link of every name of the library that stands in the text as code."""
    places = api.links()
    own = page.file.src_uri.removeprefix("api/").removesuffix(".md") if page.file.src_uri.startswith("api/") else ""

    def linked(match: re.Match[str]) -> str:
        name = match[1]
        place = places.get(name) or (places.get(f"{own}.{name}") if own else None)
        return f'<a href="{get_relative_url(place, page.url)}">{match[0]}</a>' if place else match[0]

    # Not inside of code blocks, headings and other links.
    kept = re.split(r"(<pre.*?</pre>|<h\d.*?</h\d>|<a .*?</a>|<dt>.*?</dt>)", html, flags=re.DOTALL)
    kept[::2] = [re.sub(r"<code>([\w.]+)(?:\([^<]*\))?</code>", linked, text) for text in kept[::2]]
    return "".join(kept)


def on_post_build(config: Any) -> None:
    """Stops where the site asks another machine for something, or lacks a name in the reference."""
    site = Path(config.site_dir)
    for path in sorted(site.rglob("*.html")):
        text = path.read_text()
        found = EXTERNAL_SOURCE.search(text) or EXTERNAL_LINK.search(text)
        if found:
            raise PluginError(f"{path.relative_to(site)} loads from elsewhere: {found[0][:150]}")
    for path in sorted(site.rglob("*.css")):
        found = EXTERNAL_IN_CSS.search(path.read_text())
        if found:
            raise PluginError(f"{path.relative_to(site)} loads from elsewhere: {found[0][:150]}")
    for part in jsep.__all__:
        text = (site / "api" / f"{part}.html").read_text()
        lost = [entry.anchor for entry in api.entries(part) if f'id="{entry.anchor}"' not in text]
        if lost:
            raise PluginError(f"the reference lacks {', '.join(lost)}")
