"""Hears service outages from what people write, in their own language, minutes before the companies say so.

    import listener

    db = listener.open()
    db.signal("instagram", "TR", since="7d")

The functions are those of `listener.api`, loaded when one of them is first used: importing this package costs nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "Db", "Simulation", "detect", "evaluate", "open", "plot", "replay", "sample", "score", "simulate", "train",
]  # fmt: skip  # `__init__.pyi` tells type checkers the same


class _Function(ModuleType):
    """A module that is also the function of its name."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(import_module("listener.api"), self.__name__.rpartition(".")[2])(*args, **options)


class _Package(ModuleType):
    """This package. A module below it that bears a function's name (`replay`) would hide the function: it becomes callable."""

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) is ModuleType and name in __all__ and name != "plot":
            value.__class__ = _Function
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name == "plot":
        return import_module("listener.plot")
    if name in __all__:
        return getattr(import_module("listener.api"), name)
    raise AttributeError(f"module 'listener' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


sys.modules[__name__].__class__ = _Package
