"""Bugs planted on purpose: the simulation must find each of them."""

from __future__ import annotations

from tests.simulation.variant import Variant

MUTANTS: dict[str, type[Variant]] = {}
