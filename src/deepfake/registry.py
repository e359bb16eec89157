"""What people add in a file of their own: networks over tracks, pseudo-fakes, sampling modes, each by its name.

`@register_head`, `@register_forgery` and `@register_sampling` (as timm's `@register_model`) put something into one of
these registries; settings choose from them by name. A module outside the package is named in the settings
(`plugins: [my_heads]`) and imported when a name is first looked up, in worker processes, too. No other file, such as a
detector's, can name one.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from deepfake.errors import UserError

NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
# Where the package's own are registered: a module, or a package of which each module is imported.
HOMES = {"head": "models", "forgery": "forgeries", "sampling": "sampling"}
T = TypeVar("T")
Entry = TypeVar("Entry")
_registries: dict[str, Registry[Any]] = {}
_plugins: list[str] = []


class Registry(Generic[T]):
    """Things of one kind by their names, in the order in which they were registered."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._makers: dict[str, str] = {}
        _registries.setdefault(kind, self)

    def register(self, name: str) -> Callable[[Entry], Entry]:
        """A decorator that enters a class or function under a name, and returns it as it is."""

        def enter(entry: Entry) -> Entry:
            self.add(name, entry, entry)  # type: ignore[arg-type]  # `register_head` and the like say what is wanted
            return entry

        return enter

    def add(self, name: str, entry: T, made_by: object) -> None:
        """Enter `entry` under a name that is free; `made_by` is the class or function that errors name.

        The same class or function may come again: a notebook's cell is run twice, a module loaded anew.
        """
        maker = f"{getattr(made_by, '__module__', '?')}.{getattr(made_by, '__qualname__', repr(made_by))}"
        if not NAME.fullmatch(name):
            raise UserError(f"{self.kind} {name!r} of {maker}: wanted a name of small letters, digits and _")
        if self._makers.setdefault(name, maker) != maker:
            raise UserError(
                f"{self.kind} {name!r} is registered twice, by {self._makers[name]} and by {maker}; rename one of them"
            )
        self._entries[name] = entry

    def check(self, name: str) -> None:
        """Raise where nothing has this name, with the names there are."""
        if name not in self:
            raise UserError(unknown(self.kind, name, self._entries))

    def __getitem__(self, name: str) -> T:
        self.check(name)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._entries:
            _import_plugins()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def names(self) -> list[str]:
        """All there are, those of plugins last."""
        _import_plugins()
        return list(self._entries)


def unknown(kind: str, name: str, names: Iterable[str]) -> str:
    """What to say of a name that nobody registered."""
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? There are" if near else "there are"
    return f"no {kind} is called {name!r}; {hint} {', '.join(known)}; one of your own: name its module in `plugins`"


@functools.cache
def built_in_names(kind: str) -> tuple[str, ...]:
    """The package's own names of a kind, read from its source: settings are checked without importing torch."""
    home = Path(__file__).parent / HOMES[kind]
    files = [*sorted(home.glob("*.py")), home.with_suffix(".py")]
    decorator = re.compile(rf'^@register_{kind}\(\s*"([^"]+)"', re.MULTILINE)
    return tuple(name for path in files if path.is_file() for name in decorator.findall(path.read_text("utf-8")))


def check_name(kind: str, name: str) -> str:
    """The name, if something of this kind has it; else an error in words.

    Nothing is imported for a name of the package's own, nor without plugins.
    """
    own = built_in_names(kind)
    if name in own:
        return name
    if own and not _plugins and kind not in _registries:
        raise UserError(unknown(kind, name, own))
    importlib.import_module(f"deepfake.{HOMES[kind]}")
    _registries[kind].check(name)
    return name


def use_plugins(modules: Iterable[str]) -> None:
    """Have these modules imported before the next name is looked up; they come out of the user's settings alone."""
    for module in modules:
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            raise UserError(
                f"plugins: there is no module {module!r}; put its folder on PYTHONPATH, as in PYTHONPATH=. python ..."
            )
        if module not in _plugins:
            _plugins.append(module)


def plugins() -> tuple[str, ...]:
    """The modules in use, to be handed to worker processes."""
    return tuple(_plugins)


def start_worker(modules: Iterable[str], _worker: int = 0) -> None:
    """What a worker process does first, with the `plugins()` of the process that starts it."""
    use_plugins(modules)


def _import_plugins() -> None:
    for module in _plugins:
        try:
            importlib.import_module(module)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"plugins: {module!r} cannot be imported: {type(error).__name__}: {error}") from error
