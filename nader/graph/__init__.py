"""The block language: read, print, verify, compare, cost and edit network blocks written as graphs."""

from nader.graph.block import Block, Node, Note, make_node
from nader.graph.canonical import SymmetryError, canonical_form, digest, node_label
from nader.graph.cost import Counting, cost_at
from nader.graph.design import Design, DuplicateIndex
from nader.graph.errors import BlockError, GraphError, Problem, ProblemCode, report
from nader.graph.expression import Expression, ExpressionError, expression
from nader.graph.operators import OPERATORS
from nader.graph.parse import parse, parse_all
from nader.graph.printing import print_block
from nader.graph.sites import Role, Site, Sites, probe_sites
from nader.graph.verify import ResolvedNode, Verdict, check, resolve, verify

__all__ = [
    "OPERATORS",
    "Block",
    "BlockError",
    "Counting",
    "Design",
    "DuplicateIndex",
    "Expression",
    "ExpressionError",
    "GraphError",
    "Node",
    "Note",
    "Problem",
    "ProblemCode",
    "ResolvedNode",
    "Role",
    "Site",
    "Sites",
    "SymmetryError",
    "Verdict",
    "canonical_form",
    "check",
    "cost_at",
    "digest",
    "expression",
    "make_node",
    "node_label",
    "parse",
    "parse_all",
    "print_block",
    "probe_sites",
    "report",
    "resolve",
    "verify",
]
