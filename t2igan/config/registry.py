"""Registries: what can be chosen by name in a configuration, and how one's own choices are added.

A registry is a mapping from names to whatever is registered: a pair of losses, a function that builds a network, a
phase. The code that uses it and the check of the configuration both read the same registry, so something that is
registered is at once something that can be chosen:

    PENALTIES = Registry("gradient penalty", key="loss.penalty")

    @PENALTIES.register("r1")
    def r1(critic, real, fake, text, key): ...

    PENALTIES[config.loss.penalty]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from t2igan.errors import UserError, nearest

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Things by name, in the order in which they were registered.

    Looking up a name that is not there is a user's mistake: `[name]` raises `UserError`, which names the key of the
    configuration, the value, what there is, and the nearest name.
    """

    def __init__(self, what: str, *, key: str = ""):
        """Makes an empty registry.

        Args:
          what: a noun for one of the things, such as "gradient penalty".
          key: dotted key of the configuration that chooses one, such as "loss.penalty"; "" = it is chosen elsewhere.
        """
        self.what = what
        self.key = key
        self._things: dict[str, T] = {}

    def register(self, name: str, thing: Any = None, *, replace: bool = False) -> Any:
        """Adds `thing` under `name` and returns it; without `thing`, returns a decorator that does so.

        Args:
          name: how the configuration calls it.
          thing: what is registered.
          replace: whether it may take the place of another, as when a cell of a notebook is run again.

        Raises:
          UserError: another thing has that name already, or the name is no word. The same thing may come again.
        """
        if thing is None:
            return lambda decorated: self.register(name, decorated, replace=replace)
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"a {self.what} was registered as {name!r}; its name must be a word")
        there = self._things.get(name, thing)
        if there is not thing and not replace:
            raise UserError(
                f"there is already a {self.what} {name!r} ({_origin(there)}), so {_origin(thing)} cannot have that "
                f"name; choose another, or register it with replace=True"
            )
        self._things[name] = thing
        return thing

    def unregister(self, name: str) -> None:
        """Takes a name out again, if it is there."""
        self._things.pop(name, None)

    def names(self) -> tuple[str, ...]:
        """Returns all names in order."""
        return tuple(self._things)

    def find(self, name: Any, key: str = "") -> T:
        """Returns what is registered under `name`; `UserError` where nothing is, for the configuration's key `key`."""
        if name not in self:
            raise UserError(self.complaint(name, key))
        return self._things[name]

    def check(self, values: Iterable[Any], key: str = "") -> None:
        """Raises `UserError` for the first of several values, as a key with a list has them, that is no name."""
        for value in values:
            if value not in self:
                near = nearest(str(value), self.names())
                raise UserError(f"config.{key or self.key} has {value!r}{near} There are {self.listed()}")

    def complaint(self, name: Any, key: str = "") -> str:
        """Returns what to say of a name that is not there."""
        near = nearest(str(name), self.names())
        key = key or self.key
        if not key:
            return f"there is no {self.what} {name!r}{near} There are {self.listed()}"
        return f"config.{key}={name!r} is none of {self.listed()}{near}"

    def listed(self) -> str:
        """Returns the names as a message shows them."""
        return ", ".join(repr(name) for name in self.names())

    def __getitem__(self, name: str) -> T:
        return self.find(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._things

    def get(self, name: str, default: Any = None) -> Any:
        """Returns what is registered under `name`, or `default`."""
        return self._things.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._things)

    def __repr__(self) -> str:
        return f"Registry({self.what!r}: {self.listed()})"


def _origin(thing: Any) -> str:
    """Where a thing was defined, as far as Python knows: "r1 of t2igan.method.losses.penalties"."""
    described: Callable | Any = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{described.__qualname__} of {described.__module__}"
