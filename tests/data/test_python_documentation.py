"""Behaviour: docstrings come from the files as they are, nothing runs, and whatever is odd is passed over."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from embedworks.data import PackageFiles, installed_packages, read_documentation, standard_library
from embedworks.foundation import InputError

Make = Callable[..., PackageFiles]

MODULE = '''
    """Docstring of the module itself."""
    import nowhere_to_be_found
    raise SystemExit("this line must never run")

    def add(a, b):
        """Return the sum of two numbers.

        Indented by four.
        """

    @overload
    def both(a: int) -> int: ...
    @overload
    def both(a: str) -> str: ...
    @some.decorator(1)
    async def both(a):
        """Do both things one after another."""

    def copied(a, b):
        """Return the sum of two numbers.

            Indented by four.
        """

    def _hidden():
        """Not part of the public interface."""

    def short():
        """Too short."""

    def outer():
        def inner():
            """Defined inside of a function body."""

    if TYPE_CHECKING:
        def conditional():
            """Defined under a condition of types."""
    else:
        def otherwise():
            """Defined in the other branch of it."""
    try:
        import fast
    except ImportError:
        def fallback():
            """Defined where an import has failed."""

    class Shape(Base):
        """A shape in the plane."""

        @property
        def area(self):
            """Area of the shape in square metres."""

        @area.setter
        def area(self, value):
            """Set the area of the whole shape."""

        def __init__(self):
            """Not listed, since it is a special method."""

        class Corner:
            """A corner of the shape."""
'''


def test_what_becomes_an_entry(package_of: Make) -> None:
    corpus = read_documentation([package_of("shapes", {"shapes/plane/_base.py": MODULE})])
    kinds = dict(zip(corpus.ids, corpus.attributes["kind"].to_pylist(), strict=True))
    base = "shapes.plane._base"
    assert kinds == {
        f"{base}.Shape": "class",
        f"{base}.Shape.Corner": "class",
        f"{base}.Shape.area": "method",
        f"{base}.add": "function",
        f"{base}.both": "function",
        f"{base}.conditional": "function",
        f"{base}.fallback": "function",
        f"{base}.otherwise": "function",
    }
    row = corpus.table.slice(corpus.ids.index(f"{base}.add"), 1)
    assert row.to_pylist() == [
        {
            "id": f"{base}.add",
            "text": "Return the sum of two numbers.\n\nIndented by four.",
            "package": "shapes",
            "version": "1.0",
            "kind": "function",
            "module": base,
            "words": 9,
        }
    ]


def test_odd_files_are_passed_over(package_of: Make, tmp_path: Path) -> None:
    fine = 'def fine():\n    """A function with a good docstring."""\n'
    package = package_of(
        "odd",
        {
            "odd/fine.py": fine,
            "odd/broken.py": 'def broken(:\n    """This one is no valid Python."""\n',
            "odd/nul.py": 'def nul():\n    """A docstring with a \\0 in it."""\n',
            "odd/surrogate.py": 'def lone():\n    """A docstring with a \\ud800 in it."""\n',
            "odd/escape.py": 'def escape():\n    """A docstring with an invalid \\d escape."""\n',
            "odd/huge.py": 'def huge():\n    """A function in a huge file."""\n' + "x = 1\n" * 100_000,
            "odd/deep.py": 'def deep():\n    """A function in a deep file."""\nx = ' + "(" * 5000 + ")" * 5000,
            "odd/gone.py": fine,
        },
    )
    root = tmp_path / "root-odd" / "odd"
    (root / "gone.py").unlink()
    (root / "latin.py").write_bytes(
        '# -*- coding: latin-1 -*-\ndef latin():\n    """Größe in Metern, mit Umlaut."""\n'.encode("latin-1")
    )
    (root / "bytes.py").write_bytes('def no():\n    """Größe in Metern, mit Umlaut."""\n'.encode("latin-1"))
    (root / "marked.py").write_bytes(b"\xef\xbb\xbf" + b'def marked():\n    """Begins with a byte order mark."""\n')
    more = tuple(PurePosixPath(f"odd/{name}.py") for name in ("latin", "bytes", "marked"))
    corpus = read_documentation([PackageFiles("odd", "1", package.root, package.paths + more)])
    assert corpus.ids == ["odd.escape.escape", "odd.fine.fine", "odd.latin.latin", "odd.marked.marked"]
    assert corpus.texts[2] == "Größe in Metern, mit Umlaut."


def functions(prefix: str, count: int) -> str:
    return "".join(f'def {prefix}{n}():\n    """Function {prefix} number {n} of many."""\n' for n in range(count))


def test_a_cap_falls_on_the_large_package(package_of: Make) -> None:
    small = package_of("small", {f"small/m{n}.py": functions(f"s{n}_", 2) for n in range(3)})
    large = package_of("large", {f"large/m{n}.py": functions(f"l{n}_", 2) for n in range(30)})
    counted = Counter(read_documentation([large, small], max_entries=20).attributes["package"].to_pylist())
    assert counted == {"small": 6, "large": 14}
    counted = Counter(
        read_documentation([large, small], max_entries=20, whole=["large"]).attributes["package"].to_pylist()
    )
    assert counted == {"large": 20}


def test_the_same_packages_give_the_same_corpus(package_of: Make) -> None:
    packages = [package_of(name, {f"{name}/m{n}.py": functions(f"{name}{n}_", 3) for n in range(9)}) for name in "abc"]
    once = read_documentation(packages, max_entries=25)
    assert read_documentation(list(reversed(packages)), max_entries=25) == once
    assert once.ids == sorted(once.ids)
    assert gc.isenabled()


def test_nothing_found(package_of: Make) -> None:
    with pytest.raises(InputError, match="no docstring was found"):
        read_documentation([package_of("bare", {"bare.py": "x = 1\n"})])


def test_installed_packages_are_listed_by_their_records(install: Callable[..., Path]) -> None:
    install(
        "My_Package",
        "2.1",
        {
            "my_package/__init__.py": "",
            "my_package/core.py": functions("c", 1),
            "my_package/tests/test_core.py": functions("t", 1),
            "my_package/_vendor/other.py": functions("v", 1),
            "my_package/not-a-module.py": functions("n", 1),
            "my_package/conftest.py": functions("f", 1),
            "my_package/data.txt": "x",
        },
        extra_record='../../bin/tool.py,,\n/etc/absolute.py,,\n"my_package/with,comma.py",,\n',
    )
    site = install("empty", "1", {"empty.dist-info/x.txt": ""})
    (package,) = installed_packages([site])
    assert (package.package, package.version) == ("my-package", "2.1")
    assert [path.as_posix() for path in package.paths] == ["my_package/__init__.py", "my_package/core.py"]
    assert read_documentation([package]).ids == ["my_package.core.c0"]


def test_the_standard_library_is_told_apart() -> None:
    library = standard_library()
    assert library.package == "python"
    paths = {path.as_posix() for path in library.paths}
    assert {"json/__init__.py", "pathlib.py"} <= paths
    assert not any({"site-packages", "test", "tests"} & set(path.parts) for path in library.paths)
    json_only = PackageFiles("python", library.version, library.root, (PurePosixPath("json/__init__.py"),))
    assert set(read_documentation([json_only]).ids) == {"json.dump", "json.dumps", "json.load", "json.loads"}


def test_the_packages_of_this_machine_give_thousands_of_entries() -> None:
    corpus = read_documentation(max_entries=5_000)
    assert len(corpus) == 5_000
    attributes = corpus.attributes.to_pydict()
    assert {"numpy", "torch", "python"} <= set(attributes["package"])
    assert set(attributes["kind"]) == {"function", "class", "method"}
    assert attributes["words"] == [len(text.split()) for text in corpus.texts]
    assert all(name.startswith(f"{module}.") for name, module in zip(corpus.ids, attributes["module"], strict=True))
    assert len(set(corpus.texts)) == len(corpus)
