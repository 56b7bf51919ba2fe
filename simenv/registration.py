"""Registers `simenv/Page-v0` with Gymnasium, now or as soon as Gymnasium is imported.

Gymnasium takes longer to import than the whole command line, and most commands need none of it. This module imports
nothing but `sys` by itself: `python -m simenv` comes by here before it can leave the working directory out of its path.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

REGISTRY = "gymnasium.envs.registration"


def register() -> None:
    """Register the environment, or wait for Gymnasium to be imported."""
    if REGISTRY in sys.modules:
        _register(sys.modules[REGISTRY])
    elif not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting())


def _register(gymnasium: ModuleType) -> None:
    if "simenv/Page-v0" not in gymnasium.registry:
        gymnasium.register(
            id="simenv/Page-v0",
            entry_point="simenv.scenarios.environments:page_env",
            vector_entry_point="simenv.scenarios.environments:page_vector_env",
        )


class _Waiting:
    """Lets Gymnasium's registry be found as ever, and registers once it is there."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname != REGISTRY:
            return None
        from importlib.util import find_spec

        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            load(module)
            _register(module)

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec
