"""Libraries: what is known of some classes that their reduction does not say, as rows of data.

What their objects keep to save time, which have no order, which are no values. A row is for a class that no
kind of class covers; it is named by module and class, and holds for subclasses. Called by rulebook.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from valuestore.values.identity.attributes import layout_of
from valuestore.values.identity.canonical import PICKLED, TypeRule
from valuestore.values.identity.refusal import Refused
from valuestore.values.value import Plain

ANY_ORDER = "*"
_SAVED = {
    "anytree.node.nodemixin.NodeMixin": "_NodeMixin__children?",
    "box.box.Box": "_box_config.__unpickling",
    "bs4.builder.TreeBuilder": "soup",
    "dateutil.rrule.rrulebase": "_cache _cache_complete _cache_gen _len",
    "matplotlib.cbook.CallbackRegistry": "_cid_gen",
    "matplotlib.colors.Colormap": "_isinit _lut",
    "plotly.basedatatypes.BaseFigure": ANY_ORDER,
    "scipy.interpolate._interpolate.PPoly": ANY_ORDER,
    "sklearn.feature_extraction.text._VectorizerMixin": "_stop_words_id",
    "sklearn.neighbors._ball_tree.BinaryTree32": "#7 #8 #9 #10",
    "sklearn.neighbors._ball_tree.BinaryTree64": "#7 #8 #9 #10",
    "sklearn.neighbors._kd_tree.BinaryTree32": "#7 #8 #9 #10",
    "sklearn.neighbors._kd_tree.BinaryTree64": "#7 #8 #9 #10",
    "statsmodels.base.data.ModelData": "_cache",
    "statsmodels.base.model.Results": "_cache _nobs_int _summary_cache _summary_statistics_cache diagn",
    "statsmodels.genmod.generalized_linear_model.GLM": "_tmp_like_exog",
    "uncertainties.core.AffineScalarFunc": ANY_ORDER,
    "xarray.core.dataarray.DataArray": "_cache",
    "xarray.core.dataset.Dataset": "_attrs? _cache _encoding?",
    "xarray.core.variable.Variable": "_attrs? _encoding?",
}
"""No part of the object: attributes, or what is in a dict among these; with ``?``, those that are empty.

With ``#``, counted parts of a state that is a tuple: how often a tree was asked."""

_UNORDERED = frozenset({"immutables._map.Map", "pyrsistent._pmap.PMap", "pyrsistent._pset.PSet"})
"""Containers that compare without order, and whose order depends on the process."""

_INSTEAD = {
    "geopandas.geodataframe.GeoDataFrame": "pass what its `to_wkb()` gives, and its crs",
    "geopandas.geoseries.GeoSeries": "pass what its `to_wkb()` gives, and its crs",
    "jinja2.environment.Template": "pass the text that it is made from",
    "lxml.etree._Element": "pass its text, `lxml.etree.tostring(it)`",
    "lxml.etree._ElementTree": "pass its text, `lxml.etree.tostring(it)`",
    "matplotlib.artist.Artist": "pass the picture that it makes (`savefig` to a File), or what it shows",
    "trimesh.base.Trimesh": "pass its vertices and faces as arrays",
}
"""Objects that are told by nothing but what else there is in the process, and what to pass in their place."""

_KEEPS_GLOBAL = frozenset(
    {"scipy.stats._distn_infrastructure.rv_generic", "scipy.stats._multivariate.multi_rv_generic"}
)
_GLOBAL = ("numpy.random.mtrand", "_rand")
"""The random generator that is one for all: whose objects refer to it and do not hold it, and where it is."""


def what_instead(cls: type) -> str | None:
    """What to pass for objects of a class that are no values; None for others."""
    return next((_INSTEAD[name] for name in _names(cls) if name in _INSTEAD), None)


def check_is_value(cls: type) -> None:
    """Raises: Refused for a class whose objects are no values, saying what to pass."""
    if (instead := what_instead(cls)) is not None:
        raise Refused(f"a {cls.__module__.partition('.')[0]} {cls.__name__} is no value; {instead}")


@lru_cache(maxsize=4096)
def keeps_global(cls: type) -> bool:
    """Whether objects of the class may refer to the random generator that is one for all."""
    return not _KEEPS_GLOBAL.isdisjoint(_names(cls))


def with_global(state: Any, stand_in: Any) -> Any:
    """The state of such an object, with another thing in place of that generator."""
    if type(state) is tuple:
        return tuple([with_global(part, stand_in) for part in state])
    if type(state) is dict:
        return {name: stand_in if _is_global(part) else part for name, part in state.items()}
    return stand_in if _is_global(state) else state


def _is_global(obj: object) -> bool:
    return obj is not None and getattr(sys.modules.get(_GLOBAL[0]), _GLOBAL[1], None) is obj


class GlobalByName:
    """Stands in for that generator in a pickle, and is read as it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _global_member, _GLOBAL


def _global_member(module_name: str, name: str) -> Any:
    return getattr(sys.modules[module_name], name)


def as_known(rule: TypeRule) -> TypeRule:
    """The rule of a class, with what the rows say of it."""
    names = _names(rule.type)
    if not _UNORDERED.isdisjoint(names):
        return replace(rule, identity=_members, as_value=_members, unordered=True)
    left_out = [name for base in names for name in _SAVED.get(base, "").split()]
    if rule.codec is PICKLED:
        left_out += layout_of(rule.type).saved
    if not left_out:
        return rule
    state = rule.state if rule.codec is PICKLED else rule.state or rule.as_value or rule.identity
    as_value = rule.as_value and _without(left_out, rule.as_value)
    return replace(rule, identity=_without(left_out, rule.identity), as_value=as_value, state=state)


def _names(cls: type) -> list[str]:
    return [f"{base.__module__}.{base.__name__}" for base in cls.__mro__[:-1]]


def _members(obj: Any) -> Plain:
    return [list(item) for item in obj.items()] if hasattr(obj, "items") else list(obj)


def _without(names: list[str], told: Callable[[Any], Plain]) -> Callable[[Any], Plain]:
    def trimmed(obj: Any) -> Plain:
        state = told(obj)
        if ANY_ORDER in names:
            return _sorted(state)
        if type(state) is dict:
            return _trimmed(state, names)
        return [_trimmed(part, names) if type(part) is dict else _counted(part, names) for part in state]

    return trimmed


def _counted(part: Any, names: list[str]) -> Any:
    if type(part) is not tuple:
        return part
    return tuple([one for count, one in enumerate(part) if f"#{count}" not in names])


def _trimmed(state: dict[Any, Any], names: list[str]) -> dict[Any, Any]:
    kept = dict(state)
    for name in names:
        owner, _, inner = name.partition(".")
        if inner and type(kept.get(owner)) is dict:
            kept[owner] = {key: value for key, value in kept[owner].items() if key != inner}
        elif not name.endswith("?") or not kept.get(name[:-1], True):
            kept.pop(name.rstrip("?"), None)
    return kept


def _sorted(state: Plain) -> Plain:
    if type(state) is dict:
        return {key: _sorted(state[key]) for key in sorted(state, key=repr)}
    return type(state)([_sorted(part) for part in state]) if type(state) in (list, tuple) else state
