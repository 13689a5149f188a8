"""Objects of popular packages: how to make each, and a use of it that changes nothing.

A row a package: its name on PyPI, what the object is, the maker, the use. What a row needs is imported in it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple


class Specimen(NamedTuple):
    package: str
    what: str
    make: Callable[[], Any]
    use: Callable[[Any], Any] = repr


SPECIMENS: list[Specimen] = []


def specimen(package: str, what: str, use: Callable[[Any], Any] = repr) -> Callable[[Any], Any]:
    """The decorated function makes the object."""

    def decorate(make: Callable[[], Any]) -> Callable[[], Any]:
        SPECIMENS.append(Specimen(package, what, make, use))
        return make

    return decorate


NAMES = ["alpha", "beta", "gamma", "delta", "epsilon"]


# --- science ------------------------------------------------------------------------------------


@specimen("xarray", "`Dataset`", lambda ds: (repr(ds), ds.mean(), ds.t.to_pandas(), ds.sizes, ds.indexes))
def _dataset():
    import numpy as np
    import xarray as xr

    return xr.Dataset(
        {"t": (("x", "y"), np.arange(6.0).reshape(2, 3))}, {"x": [1, 2], "y": list("abc")}, {"unit": "K"}
    )


@specimen("xarray", "`DataArray`", lambda da: (repr(da), da.max(), da.sel(x=1), da.coords, da.dt))
def _data_array():
    import pandas as pd
    import xarray as xr

    return xr.DataArray(pd.date_range("2020", periods=3), {"x": [1, 2, 3]}, ["x"], "when")


@specimen(
    "sympy",
    "expression",
    lambda e: (e.is_commutative, e.free_symbols, e.diff("x"), e.evalf(), hash(e), e.is_real),
)
def _sympy():
    import sympy

    x, y = sympy.symbols("x y", real=True)
    return sympy.sin(x) * y**2 + sympy.Rational(1, 3) * sympy.exp(sympy.Symbol("z"))


@specimen("sympy", "`Matrix`", lambda m: (m.det(), m.inv(), repr(m)))
def _sympy_matrix():
    import sympy

    return sympy.Matrix([[1, sympy.Symbol("a")], [sympy.pi, 4]])


@specimen("sympy", "`ImmutableMatrix`, `Poly`, `FiniteSet`", lambda parts: (repr(parts), hash(parts)))
def _sympy_parts():
    import sympy

    x = sympy.Symbol("x")
    return (
        sympy.ImmutableMatrix([[x, 1]]),
        sympy.Poly(x**2 + 1),
        sympy.FiniteSet(x, 2),
    )


@specimen("matplotlib", "`Figure`", lambda f: (repr(f), f.savefig(io.BytesIO())))
def _figure():
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([1, 2, 3], [3, 1, 2], label="line")
    axes.set_title("title")
    return figure


@specimen("matplotlib", "`Normalize`", lambda n: (n(3), n.vmin, repr(n)))
def _normalize():
    from matplotlib.colors import Normalize

    return Normalize(0, 10)


@specimen("matplotlib", "colormap", lambda c: (c(0.5), repr(c)))
def _colormap():
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("mine", ["red", "blue"])


@specimen(
    "networkx",
    "`DiGraph`",
    lambda g: (len(g), list(g.nodes), g.adj, g.degree, list(g.edges), g.out_edges, repr(g)),
)
def _graph():
    import networkx as nx

    graph = nx.DiGraph(name="g")
    graph.add_edge("a", "b", weight=2.0)
    graph.add_edge("b", "c", tags={"x", "y"})
    return graph


@specimen(
    "statsmodels", "OLS results", lambda r: (r.summary(), r.pvalues, r.conf_int(), r.rsquared, r.predict())
)
def _ols():
    import numpy as np
    import statsmodels.api as sm

    x = np.arange(10.0)
    return sm.OLS(x * 2 + np.sin(x), sm.add_constant(x)).fit()


@specimen("statsmodels", "GLM results", lambda r: (r.summary(), r.pvalues, r.llf, r.predict()))
def _glm():
    import numpy as np
    import statsmodels.api as sm

    x = np.arange(10.0)
    return sm.GLM(x * 2 + np.sin(x), sm.add_constant(x)).fit()


@specimen("scipy", "frozen distribution", lambda d: (d.rvs(3), d.mean(), d.pdf(1.0), d.cdf(0.5), repr(d)))
def _frozen():
    from scipy import stats

    return stats.norm(0, 2)


@specimen("scipy", "frozen multivariate", lambda d: (d.rvs(3), d.mean, d.pdf([0, 1]), repr(d)))
def _frozen_multivariate():
    from scipy import stats

    return stats.multivariate_normal([0, 1])


@specimen("scipy", "`linregress` results", lambda r: (r.slope, r.intercept_stderr, repr(r)))
def _linregress():
    from scipy import stats

    return stats.linregress([1, 2, 3], [1, 2, 4])


@specimen("scipy", "`cKDTree`", lambda t: (t.query([0, 0]), t.n, t.tree))
def _kdtree():
    import numpy as np
    from scipy.spatial import cKDTree

    return cKDTree(np.arange(20.0).reshape(10, 2) % 7)


@specimen("scipy", "`CubicSpline`", lambda s: (s(0.5), s.derivative(), s.roots()))
def _spline():
    from scipy.interpolate import CubicSpline

    return CubicSpline([0, 1, 2, 3], [0, 1, 4, 9])


@specimen(
    "scikit-learn", "fitted `TfidfVectorizer`", lambda v: (v.transform(NAMES), v.get_feature_names_out())
)
def _vectorizer():
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer().fit(NAMES)


@specimen("scikit-learn", "fitted `KNeighborsClassifier`", lambda m: (m.predict([[0.5]]), repr(m)))
def _neighbours():
    import numpy as np
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(2, algorithm="kd_tree").fit(np.arange(9.0).reshape(-1, 1), [0, 1, 0] * 3)


@specimen(
    "scikit-learn",
    "fitted `Pipeline`",
    lambda p: (p.predict([[1.0, 2.0]]), repr(p), p.get_params(), p._repr_html_()),
)
def _pipeline():
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.arange(20.0).reshape(10, 2)
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, [0] * 5 + [1] * 5)


@specimen(
    "scikit-learn",
    "fitted `RandomForestClassifier`",
    lambda f: (f.predict([[1.0, 2.0]]), f.feature_importances_, repr(f)),
)
def _forest():
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier

    x = np.arange(20.0).reshape(10, 2)
    return RandomForestClassifier(3, random_state=0).fit(x, [0] * 5 + [1] * 5)


@specimen("lightgbm", "`Booster`", lambda b: (b.predict([[1.0, 2.0]]), b.num_trees(), repr(type(b))))
def _booster():
    import lightgbm
    import numpy as np

    x = np.arange(200.0).reshape(100, 2)
    data = lightgbm.Dataset(x, x[:, 0] % 3)
    return lightgbm.train({"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}, data, 3)


@specimen(
    "shapely", "geometries", lambda gs: [(g.area, g.bounds, g.wkt, g.buffer(1), g.is_valid) for g in gs]
)
def _shapely():
    from shapely import LineString, Point, Polygon

    return [Point(1, 2), LineString([(0, 0), (1, 1)]), Polygon([(0, 0), (1, 0), (1, 1)])]


@specimen("geopandas", "`GeoDataFrame`", lambda f: (f.area, f.sindex, f.total_bounds, repr(f), f.crs))
def _geopandas():
    import geopandas
    from shapely import Point

    return geopandas.GeoDataFrame({"n": [1, 2]}, geometry=[Point(0, 0), Point(1, 1)], crs="EPSG:4326")


@specimen("astropy", "`Quantity`", lambda q: (q.to("km"), q.unit.to_string(), repr(q), q.si))
def _quantity():
    import numpy as np
    from astropy import units

    return np.arange(3.0) * units.m / units.s * units.s


@specimen("astropy", "`Table`", lambda t: (repr(t), t["a"].mean(), t.info, t.colnames, t[0]))
def _table():
    from astropy.table import Table

    return Table({"a": [1, 2], "b": ["x", "y"]}, meta={"name": "t"})


@specimen("pint", "`Quantity`", lambda q: (q.to("cm / s"), str(q), q.dimensionality, hash(q)))
def _pint():
    import pint

    return pint.get_application_registry().Quantity(3.0, "meter / second")


@specimen("uncertainties", "`ufloat`", lambda u: (u.s, u.n, repr(u), u * 2))
def _ufloat():
    from uncertainties import ufloat

    return ufloat(1.0, 0.1)


@specimen("mpmath", "`mpf`", lambda m: (m + 1, repr(m), hash(m)))
def _mpf():
    import mpmath

    return mpmath.mpf("1.5") / 7


@specimen("biopython", "`SeqRecord`", lambda r: (len(r), r.seq.complement(), repr(r), r.format("fasta")))
def _seq_record():
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    return SeqRecord(Seq("ACGT"), id="one", letter_annotations={"q": [1, 2, 3, 4]})


@specimen(
    "ase", "`Atoms`", lambda a: (a.get_positions(), a.get_masses(), repr(a), len(a), a.get_center_of_mass())
)
def _atoms():
    from ase import Atoms

    return Atoms("H2O", [(0, 0, 0), (0, 0, 1), (0, 1, 0)], cell=[5, 5, 5], pbc=True)


@specimen(
    "trimesh", "`Trimesh`", lambda m: (m.volume, m.area, m.face_normals, m.bounds, repr(m), m.edges_unique)
)
def _trimesh():
    import trimesh

    return trimesh.creation.box()


# --- configuration, trees, collections --------------------------------------------------------


@specimen("omegaconf", "`DictConfig`", lambda c: (c.a.b, repr(c), c.d[1], c.a.e, list(c), len(c)))
def _omegaconf():
    from omegaconf import OmegaConf

    return OmegaConf.create({"a": {"b": 1, "e": "${a.b}"}, "d": [1, {"x": 2}]})


@specimen("anytree", "`Node`", lambda n: (n.children, n.height, repr(n), n.descendants, n.path, n.root))
def _anytree():
    from anytree import Node

    root = Node("root")
    Node("a", parent=root, size=1)
    Node("b", parent=Node("c", parent=root))
    return root


@specimen(
    "bigtree", "`Node`", lambda n: (list(n.children), n.max_depth, repr(n), list(n.descendants), n.path_name)
)
def _bigtree():
    from bigtree import Node

    root = Node("root")
    Node("b", parent=Node("c", parent=root), size=2)
    return root


@specimen("nltk", "`Tree`", lambda t: (t.leaves(), t.height(), str(t), t.pos(), list(t.subtrees())))
def _nltk():
    from nltk import ParentedTree

    return ParentedTree.fromstring("(S (NP I) (VP (V saw) (NP him)))")


@specimen("pyrsistent", "`pmap`, `pvector`, `pset`", lambda p: (repr(p), len(p["v"]), hash(p), p["m"].keys()))
def _pyrsistent():
    from pyrsistent import pmap, pset, pvector

    return pmap({"m": pmap({name: len(name) for name in NAMES}), "v": pvector([1, 2]), "s": pset(NAMES)})


@specimen("immutables", "`Map`", lambda m: (len(m), repr(m), hash(m), list(m.items())))
def _immutables():
    import immutables

    return immutables.Map({name: len(name) for name in NAMES})


@specimen("frozendict", "`frozendict`", lambda d: (len(d), hash(d), repr(d), list(d)))
def _frozendict():
    from frozendict import frozendict

    return frozendict({name: (name,) for name in NAMES})


@specimen("bidict", "`bidict`", lambda b: (b.inverse["x"], repr(b), len(b), list(b.inv), b.inverse.inverse))
def _bidict():
    from bidict import bidict

    return bidict({"a": "x", "b": "y"})


@specimen(
    "sortedcontainers", "`SortedDict`", lambda d: (d.peekitem(0), list(d.keys()), repr(d), d.bisect("b"))
)
def _sorted_dict():
    from sortedcontainers import SortedDict, SortedList

    return SortedDict({"b": SortedList([3, 1, 2]), "a": 1})


@specimen("cachetools", "`LRUCache`", lambda c: (len(c), repr(c), c.currsize, list(c)))
def _cachetools():
    import cachetools

    cache = cachetools.LRUCache(3)
    cache["a"] = 1
    cache["b"] = 2
    return cache


@specimen("multidict", "`MultiDict`", lambda m: (m.getall("a"), len(m), repr(m)))
def _multidict():
    from multidict import MultiDict

    return MultiDict([("a", 1), ("b", 2), ("a", 3)])


@specimen("yarl", "`URL`", lambda u: (u.host, u.query, u.path, str(u), hash(u), u.human_repr(), u.parent))
def _yarl():
    from yarl import URL

    return URL("https://user@example.com:8080/a/b?x=1&y=2#f")


@specimen("python-box", "`Box`", lambda b: (b.a.b, repr(b), b.to_dict(), b.d[0].x))
def _box():
    from box import Box

    return Box({"a": {"b": 1}, "d": [{"x": 1}]})


@specimen("addict", "`Dict`", lambda d: (d.a.b, repr(d), d.to_dict()))
def _addict():
    from addict import Dict

    return Dict({"a": {"b": 1}, "d": [{"x": 1}]})


@specimen("munch", "`Munch`", lambda m: (m.a.b, repr(m), m.toDict()))
def _munch():
    from munch import munchify

    return munchify({"a": {"b": 1}, "d": [{"x": 1}]})


@specimen("toolz", "`curry`", lambda c: (c(2), repr(c), c.func, c.args))
def _curry():
    import operator

    import toolz

    return toolz.curry(operator.add, 1)


# --- dates and other small things ---------------------------------------------------------------


@specimen("pendulum", "`DateTime`", lambda d: (d.add(days=1), str(d), d.timezone_name, d.diff_for_humans(d)))
def _pendulum():
    import pendulum

    return pendulum.datetime(2020, 1, 2, 3, tz="Europe/Paris")


@specimen("arrow", "`Arrow`", lambda a: (a.shift(days=1), str(a), a.humanize(a), a.tzinfo))
def _arrow():
    import arrow

    return arrow.get(2020, 1, 2, 3, tzinfo="Europe/Paris")


@specimen(
    "python-dateutil", "`rrule`, `relativedelta`", lambda p: (list(p[0]), p[0].count(), repr(p[1]), len(p))
)
def _rrule():
    import datetime

    from dateutil.relativedelta import relativedelta
    from dateutil.rrule import MONTHLY, rrule

    return [rrule(MONTHLY, count=3, dtstart=datetime.datetime(2020, 1, 1)), relativedelta(months=1)]


@specimen("whenever", "`ZonedDateTime`", lambda w: (repr(w), w.date(), w.add(hours=1)))
def _whenever():
    from whenever import ZonedDateTime

    return ZonedDateTime(2020, 1, 2, 3, tz="Europe/Paris")


@specimen("phonenumbers", "`PhoneNumber`", lambda p: (repr(p), str(p), p.country_code))
def _phone():
    import phonenumbers

    return phonenumbers.parse("+442083661177")


@specimen("msgspec", "`Struct`")
def _msgspec():
    import msgspec

    return msgspec.Raw(b"[1]")


# --- frames, plots, text ------------------------------------------------------------------------


@specimen("polars", "`DataFrame`", lambda f: (f.describe(), repr(f), f.height))
def _polars():
    import polars as pl

    return pl.DataFrame({"a": [1, 2], "b": ["x", None]})


@specimen("polars", "`Expr`", lambda e: (repr(e), e.meta.root_names()))
def _polars_expression():
    import polars as pl

    return (pl.col("a") + 1).alias("b")


@specimen("pyarrow", "`Table`", lambda t: (t.num_rows, repr(t), t.column("a").to_pylist()))
def _pyarrow():
    import pyarrow as pa

    return pa.table({"a": [1, 2], "b": ["x", None]})


@specimen("plotly", "`Figure`", lambda f: (f.to_json(), repr(f), f.data[0].x, f.layout.title))
def _plotly():
    import plotly.graph_objects as go

    return go.Figure(go.Scatter(x=[1, 2], y=[3, 4]), layout={"title": "t"})


@specimen("altair", "`Chart`", lambda c: (c.to_dict(), c.mark, type(c)))
def _altair():
    import altair as alt
    import pandas as pd

    return alt.Chart(pd.DataFrame({"a": [1, 2]})).mark_point().encode(x="a:Q")


@specimen("pillow", "`Image`", lambda i: (i.size, i.getpixel((0, 0)), repr(type(i)), i.resize((1, 1))))
def _pillow():
    from PIL import Image

    return Image.new("RGB", (3, 2), "red")


@specimen("lxml", "`Element`")
def _lxml():
    from lxml import etree

    return etree.fromstring("<a><b/></a>")


@specimen("beautifulsoup4", "`BeautifulSoup`", lambda s: (s.find("b"), str(s), s.get_text(), s.a.children))
def _soup():
    from bs4 import BeautifulSoup

    return BeautifulSoup("<a href='x'><b>text</b></a>", "html.parser")


@specimen("lark", "`Tree`", lambda t: (t.pretty(), list(t.iter_subtrees()), repr(t), hash(t)))
def _lark():
    from lark import Lark

    return Lark('start: "a" NUM\nNUM: /[0-9]+/\n').parse("a12")


@specimen("jinja2", "`Template`")
def _jinja():
    import jinja2

    return jinja2.Template("Hello {{ name }}")


@specimen("regex", "pattern", lambda p: (p.match("ab1"), p.groups, p.pattern))
def _regex():
    import regex

    return regex.compile(r"(?<w>\p{L}+)\d", regex.IGNORECASE)


@specimen("dask", "`delayed`", lambda d: (d.compute(), d.key, repr(d)))
def _delayed():
    import operator

    import dask

    return dask.delayed(operator.add, pure=True)(1, 2)


@specimen("attrs", "attributes with a cached hash", lambda a: (hash(a), repr(a)))
def _attrs():
    import attr

    return attr.validators.in_(["a", "b"])


@specimen("pydantic", "model of the package", repr)
def _pydantic():
    from pydantic import AnyUrl

    return AnyUrl("https://example.com/x")
