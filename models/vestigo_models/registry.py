"""Registries of named components: built in, registered at run time, or installed as entry points."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from vestigo_models.errors import ConfigError

Factory = TypeVar("Factory", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Component(Generic[Factory]):
    """One component.

    Attributes:
        name: What a reference begins with: `hog`, or `hf` in `hf:FOLDER_OR_ID`.
        factory: Makes the component; called with what follows the colon, "" without an argument, and further
            positional arguments of the registry.
        help: One line for users.
        argument: What follows the colon, such as `FOLDER_OR_ID`; "" for a name without an argument.
    """

    name: str
    factory: Factory
    help: str = ""
    argument: str = ""

    @property
    def usage(self) -> str:
        """The reference as help texts show it."""
        return f"{self.name}:{self.argument}" if self.argument else self.name


class ComponentRegistry(Generic[Factory]):
    """Components of one kind by name.

    An entry point of installed packages in `group` names a `Component`. It is loaded when its name is used, never to
    list names. `kind` is what the components are, in error messages; `reserved` references are handled by the caller
    and come first in `usage`.
    """

    def __init__(
        self, kind: str, group: str, entries: list[Component[Factory]], reserved: tuple[str, ...] = ()
    ) -> None:
        self.kind, self.group, self.reserved = kind, group, reserved
        self._entries = {entry.name: entry for entry in entries}

    def register(self, entry: Component[Factory]) -> None:
        """Add a component; raise ConfigError if its name is taken."""
        if entry.name in (*self.reserved, *self._entries):
            raise ConfigError(f"{self.kind} {entry.name!r} is already registered; choose another name")
        self._entries[entry.name] = entry

    @property
    def usages(self) -> list[str]:
        """Every reference that a user may give, such as `hog` and `hf:FOLDER_OR_ID`."""
        installed = self._installed.keys() - self._entries.keys()
        return [*self.reserved, *(entry.usage for entry in self._entries.values()), *sorted(installed)]

    @property
    def usage(self) -> str:
        """`usages` as one phrase: `auto, none, hog or hf:FOLDER_OR_ID`."""
        *others, last = self.usages
        return f"{', '.join(others)} or {last}" if others else last

    def find(self, reference: str) -> tuple[Component[Factory], str]:
        """Return the component that a reference names, and its argument; raise ConfigError if one does not fit."""
        name, colon, argument = reference.partition(":")
        if name in self._entries or name in self._installed:
            entry = self._load(name)
            if bool(argument) == bool(entry.argument) and bool(colon) == bool(entry.argument):
                return entry, argument
        raise ConfigError(f"unknown {self.kind} {reference!r}: use {self.usage}")

    def absolute(self, reference: str) -> str:
        """Return a reference whose argument is an existing path with the absolute path, any other unchanged.

        An option may follow the path after another colon, as in `schp:CHECKPOINT:lip`.
        """
        name, _, argument = reference.partition(":")
        path, _, option = argument.rpartition(":")
        if argument and os.path.exists(argument):
            return f"{name}:{Path(argument).resolve()}"
        if path and os.path.exists(path):
            return f"{name}:{Path(path).resolve()}:{option}"
        return reference

    @cached_property
    def _installed(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in sorted(entry_points(group=self.group), key=lambda point: point.name)}

    def _load(self, name: str) -> Component[Factory]:
        if name not in self._entries:
            point = self._installed[name]
            entry = point.load()
            if not isinstance(entry, Component) or entry.name != name:
                raise ConfigError(
                    f"{self.group}: entry point {point.value!r} is not a Component with the name {name!r}"
                )
            self._entries[name] = entry
        return self._entries[name]
