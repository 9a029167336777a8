"""The documentation corpus: docstrings of the packages installed on this machine, read by ``ast``.

Nothing is imported or executed. Files are read package by package in turn, so that a cap on the number of entries
falls on the large packages first and leaves the small ones whole.
"""

from __future__ import annotations

import ast
import csv
import gc
import hashlib
import heapq
import logging
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath

from embedworks.data.corpus import Corpus
from embedworks.foundation import InputError, progress_bar

_LOGGER = logging.getLogger(__name__)

STANDARD_LIBRARY = "python"
"""Value of the attribute ``package`` for the standard library."""
HELD_OUT_PACKAGE = "networkx"
"""The package to hold out where it is installed: a subject of its own, well documented, and it comes with torch."""
_MAX_FILE_BYTES = 500_000
_MIN_WORDS = 4
_SKIPPED_FOLDERS = frozenset(
    {
        *("test", "tests", "conformance", "benchmark", "benchmarks", "example", "examples", "docs", "templates"),
        *("vendor", "vendored", "_vendor", "_vendored", "third_party", "thirdparty", "extern", "external", "externals"),
        *("site-packages", "dist-packages", "node_modules", "__pycache__"),
        *("_distutils", "lib2to3", "idlelib", "turtledemo", "ensurepip"),
    }
)
_SKIPPED_FILES = re.compile(r"(test_.*|.*_test|conftest|setup)\.py")


@dataclass(frozen=True)
class PackageFiles:
    """The Python files of one installed package.

    Args:
        package: Name of the distribution, in lower case with hyphens, or ``python`` for the standard library.
        version: Its version.
        root: The folder that module names start from.
        paths: Paths under ``root``.
    """

    package: str
    version: str
    root: Path
    paths: tuple[PurePosixPath, ...]


def read_documentation(
    packages: Sequence[PackageFiles] | None = None,
    *,
    max_entries: int = 14_000,
    whole: Sequence[str] = (HELD_OUT_PACKAGE,),
    progress: bool = False,
) -> Corpus:
    """Read the docstrings of installed packages into a corpus.

    Public functions, classes and methods with a docstring of at least four words become entries: ``id`` is the
    dotted name, ``text`` the whole cleaned docstring; attributes are ``package``, ``version``, ``kind`` (function,
    class, method), ``module`` and ``words``. Of equal docstrings one is kept. Test folders, vendored copies, files
    above 500 kB and files that are no valid Python are passed over. The same packages give the same corpus.

    Args:
        packages: What to read; by default :func:`installed_packages` and the standard library.
        max_entries: Largest number of entries, shared fairly: the package with the fewest entries goes next.
        whole: Packages that come first and are read to the end, so that one can be held out with all it has.
        progress: Whether to show a progress bar.

    Returns:
        The corpus, ordered by package and id.

    Raises:
        InputError: No docstring was found.
    """
    if packages is None:
        packages = [*installed_packages(), standard_library()]
    waiting = {package.package: _in_mixed_order(package.paths) for package in packages}
    by_name = {package.package: package for package in packages}
    queue = [(-1 if name in whole else 0, name) for name in sorted(waiting) if waiting[name]]
    heapq.heapify(queue)
    entries: dict[str, _Entry] = {}
    texts: set[str] = set()
    bar = progress_bar("Reading docstrings", max_entries, unit="entries", enabled=progress)
    with bar as advance, _cycle_collection_paused():
        while queue and len(entries) < max_entries:
            count, name = heapq.heappop(queue)
            package = by_name[name]
            added = 0
            for entry in _entries_of(package, waiting[name].pop()):
                if entry.name not in entries and entry.text not in texts and len(entries) < max_entries:
                    entries[entry.name] = entry
                    texts.add(entry.text)
                    added += 1
            advance(added)
            if waiting[name]:
                heapq.heappush(queue, (-1 if name in whole else count + added, name))
    if not entries:
        raise InputError("no docstring was found", where="installed packages", mend="install a documented package")
    ordered = sorted(entries.values(), key=lambda entry: (entry.package.package, entry.name))
    return Corpus.from_columns(
        [entry.name for entry in ordered],
        [entry.text for entry in ordered],
        {
            "package": [entry.package.package for entry in ordered],
            "version": [entry.package.version for entry in ordered],
            "kind": [entry.kind for entry in ordered],
            "module": [entry.module for entry in ordered],
            "words": [len(entry.text.split()) for entry in ordered],
        },
    )


def installed_packages(folders: Sequence[str | Path] | None = None) -> list[PackageFiles]:
    """List the installed distributions that say which files they brought (a RECORD file, as every wheel has).

    Args:
        folders: Where packages are installed; by default the site-packages folders of this environment.

    Returns:
        One entry a distribution, ordered by name.
    """
    if folders is None:
        folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    found: dict[str, PackageFiles] = {}
    for folder in folders:
        for distribution in distributions(path=[str(folder)]):
            package = _package_of(distribution, Path(folder))
            if package is not None and package.paths:
                found.setdefault(package.package, package)
    return [found[name] for name in sorted(found)]


def standard_library() -> PackageFiles:
    """List the files of the standard library."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = (PurePosixPath(path.relative_to(root).as_posix()) for path in root.rglob("*.py"))
    return PackageFiles(
        STANDARD_LIBRARY, platform.python_version(), root, tuple(sorted(path for path in paths if _is_wanted(path)))
    )


def _package_of(distribution: Distribution, root: Path) -> PackageFiles | None:
    record = distribution.read_text("RECORD")
    name = distribution.metadata["Name"]
    if record is None or not name:
        return None
    # read as text: PackagePath objects for the 100,000 files of a large environment take seconds
    lines = (line for line in record.splitlines() if ".py," in line or '.py"' in line)
    paths = sorted({PurePosixPath(row[0]) for row in csv.reader(lines) if row})
    wanted = tuple(path for path in paths if _is_wanted(path))
    return PackageFiles(re.sub(r"[-_.]+", "-", name).lower(), distribution.version, root, wanted)


def _is_wanted(path: PurePosixPath) -> bool:
    if path.suffix != ".py" or path.is_absolute() or ".." in path.parts or _SKIPPED_FILES.fullmatch(path.name):
        return False
    modules = [*path.parts[:-1], path.stem]
    return not _SKIPPED_FOLDERS.intersection(path.parts[:-1]) and all(part.isidentifier() for part in modules)


def _in_mixed_order(paths: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Order paths by a hash, so that a cap takes a sample of a package and not its first folders."""
    return sorted(paths, key=lambda path: hashlib.sha256(path.as_posix().encode()).digest())


@dataclass(frozen=True)
class _Entry:
    package: PackageFiles
    module: str
    name: str
    kind: str
    text: str


@contextmanager
def _cycle_collection_paused() -> Iterator[None]:
    """Keep the cycle collector away: syntax trees hold no cycles, and its passes over them cost a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _entries_of(package: PackageFiles, path: PurePosixPath) -> Iterator[_Entry]:
    file = package.root / path
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            return
        source = file.read_bytes()
        if b'"""' not in source and b"'''" not in source:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarnings of other people's code
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        _LOGGER.debug("passed over %s: %s", file, error)
        return
    parts = path.with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    for name, kind, text in _docstrings(tree.body, prefix=module, in_class=False):
        yield _Entry(package, module, name, kind, text)


def _docstrings(body: Sequence[ast.stmt], *, prefix: str, in_class: bool) -> Iterator[tuple[str, str, str]]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if node.name.startswith("_"):
                continue
            name = f"{prefix}.{node.name}"
            text = _usable(ast.get_docstring(node))
            is_class = isinstance(node, ast.ClassDef)
            if text:
                yield name, "class" if is_class else "method" if in_class else "function", text
            if is_class:
                yield from _docstrings(node.body, prefix=name, in_class=True)
        elif isinstance(node, (ast.If, ast.Try)):  # definitions that depend on a version or an optional library
            handlers = [statement for handler in getattr(node, "handlers", []) for statement in handler.body]
            for part in (node.body, handlers, node.orelse):
                yield from _docstrings(part, prefix=prefix, in_class=in_class)


def _usable(docstring: str | None) -> str:
    """Return a docstring that can be kept as text and says something, or an empty string."""
    if not docstring or "\0" in docstring or len(docstring.split()) < _MIN_WORDS:
        return ""
    text = docstring.strip()
    try:
        text.encode()
    except UnicodeEncodeError:  # an escape in the source made a lone surrogate
        return ""
    return text
