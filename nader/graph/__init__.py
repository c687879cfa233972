"""The block language: read, print, verify, compare, cost and edit network blocks written as graphs."""

from nader.graph.block import Block, Node, Note, make_node
from nader.graph.canonical import SymmetryError, canonical_form, digest, node_label
from nader.graph.cost import Counting, cost_at, cost_of
from nader.graph.design import Design, DuplicateIndex
from nader.graph.draw import to_svg
from nader.graph.edit import (
    EDITS,
    KINDS_BY_PHRASE,
    EditResult,
    apply_edit,
    edit_named_in,
    edits_named_in,
    matching_downsample,
    matching_stem,
)
from nader.graph.errors import BlockError, GraphError, Problem, ProblemCode, report
from nader.graph.expression import Expression, ExpressionError, expression
from nader.graph.growth import Growth, growth
from nader.graph.library import BASE_DESIGNS, UnknownDesignError, base_design
from nader.graph.nasbench import ArchitectureError, from_nas_bench_201, nas_bench_201_design
from nader.graph.operators import OPERATORS
from nader.graph.parse import parse, parse_all
from nader.graph.printing import print_block
from nader.graph.reference import language_reference
from nader.graph.sites import Role, Site, Sites, probe_sites
from nader.graph.verify import ResolvedNode, Verdict, check, resolve, verify

__all__ = [
    "BASE_DESIGNS",
    "EDITS",
    "KINDS_BY_PHRASE",
    "OPERATORS",
    "ArchitectureError",
    "Block",
    "BlockError",
    "Counting",
    "Design",
    "DuplicateIndex",
    "EditResult",
    "Expression",
    "ExpressionError",
    "GraphError",
    "Growth",
    "Node",
    "Note",
    "Problem",
    "ProblemCode",
    "ResolvedNode",
    "Role",
    "Site",
    "Sites",
    "SymmetryError",
    "UnknownDesignError",
    "Verdict",
    "apply_edit",
    "base_design",
    "canonical_form",
    "check",
    "cost_at",
    "cost_of",
    "digest",
    "edit_named_in",
    "edits_named_in",
    "expression",
    "from_nas_bench_201",
    "growth",
    "language_reference",
    "make_node",
    "matching_downsample",
    "matching_stem",
    "nas_bench_201_design",
    "node_label",
    "parse",
    "parse_all",
    "print_block",
    "probe_sites",
    "report",
    "resolve",
    "to_svg",
    "verify",
]
