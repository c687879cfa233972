"""Size expressions: what is read, what is refused and why, and what they are worth."""

import re
from random import Random

import numpy as np
import pytest
from hypothesis import given

from nader.graph import ExpressionError, expression
from nader.graph.expression import evaluate
from nader.graph.polynomials import normal_form
from tests.graph.strategies import randoms, respelled

SIZES = {"B": 2, "C": 20, "dim": 48, "H": 7, "W": 5}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        (" C * 2 ", 40),
        ("c+DIM", 68),
        ("C/16", 1),
        ("C/16*16", 20),
        ("C//16*16", 16),
        ("(C+H)*(W-2)", 81),
        ("-C+dim", 28),
        ("--3", 3),
        ("2-3-4", -5),
        ("48/4/3", 4),
        ("C*0.25", 5),
        ("1.5*2", 3),
        ("-7//2", -4),
        ("-7/2", -4),
        ("H//W/2*2", 1),
        ("batch*H", 14),
        ("007", 7),
    ],
)
def test_an_expression_has_its_value_rounded_down(text, value):
    assert expression(text).integer(SIZES) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not complete"),
        ("C+", "not complete"),
        ("(C", "closing parenthesis"),
        ("C)", "unexpected ')'"),
        ("C C", "unexpected 'C'"),
        ("r", "'r' is not a known size"),
        ("C**2", "powers"),
        ("C^2", "powers"),
        ("__import__('os')", "unexpected"),
        ("__import__(1)", "is not a known size"),
        ("C.__class__", "unexpected"),
        ("1e9", "unexpected 'e9'"),
        ("9999999999", "too large"),
        ("(" * 40 + "C" + ")" * 40, "nested"),
        ("+".join(["C"] * 40), "more than 32 operands"),
        ("C" + " " * 500, "longer than"),
        ("١", "unexpected"),
        ("C\0", "unexpected"),
    ],
)
def test_what_is_no_expression_is_refused_with_the_piece_named(text, said):
    with pytest.raises(ExpressionError, match=re.escape(said)):
        expression(text)


@pytest.mark.parametrize(
    "text",
    ["C/4/4", "C-(dim-1)", "C/(4*2)", "-(C+1)", "2--3", "(C+1)*2", "C//(H/2)", "0.5*C", "-C*2", "-(C*2)"],
)
def test_the_printed_form_reads_back_to_the_same_expression(text):
    tree = expression(text)
    assert str(tree) == text
    assert expression(str(tree)) == tree


@pytest.mark.parametrize(
    "text", ["C/3", "C*H/W-dim//5", "(C-dim)/(H-W)", "C/(H-7)", "(C+B)//(W-H)*2", "C*0.3"]
)
def test_many_sites_at_once_give_what_each_gives_alone(text):
    tree = expression(text)
    columns = {"C": [20, 7, 9], "dim": [48, 3, 9], "H": [7, 8, 2], "W": [5, 8, 3]}
    values = {name: np.array(column)[None, :] for name, column in columns.items()}
    found = evaluate(tree, values | {"B": np.array([1, 2])[:, None]})
    for row, batch in enumerate((1, 2)):
        for site in range(3):
            numbers = {name: column[site] for name, column in columns.items()} | {"B": batch}
            defined = np.broadcast_to(found.defined, (2, 3))[row, site]
            try:
                alone = tree.integer(numbers)
            except ZeroDivisionError:
                assert not defined
                continue
            assert defined
            assert np.broadcast_to(found.value, (2, 3))[row, site] == alone


def test_a_value_beyond_any_tensor_is_marked_at_its_site_only():
    values = {name: np.array([[2, 1_000_000]]) for name in ("C", "dim", "H", "W")} | {
        "B": np.array([[1], [2]])
    }
    found = evaluate(expression("C*C*C"), values)
    assert np.broadcast_to(found.small, (1, 2)).tolist() == [[True, False]]
    assert found.value[0, 0] == 8


@pytest.mark.parametrize(
    "texts",
    [
        ("2*C", "C*2", "C+C", "4*C/2", "(C*C+C)/C+C-1", "2*(C+dim)-2*dim"),
        ("C/4", "C//4", "0.25*C", "C/2/2", "C//2//2", "(C+4)//4-1", "(C//2)/2"),
        ("C/4*4", "C", "C*H/H", "(C+dim)*(C-dim)/(C-dim)-dim", "C//1", "C*C//C", "--C"),
        ("(C*dim+H)/(C+dim)", "(2*H+2*C*dim)/(dim+C)/2", "(H+dim*C)/(C+dim)*W/W"),
        ("5/2", "2", "C-C+2", "2.9"),
        ("C//3*3", "3*(C//3)"),
        ("C/H", "C//H", "C*W/(H*W)"),
    ],
)
def test_expressions_of_equal_value_have_one_normal_form(texts):
    assert {normal_form(expression(text)) for text in texts} == {normal_form(expression(texts[0]))}


def test_expressions_of_unequal_value_have_different_normal_forms():
    texts = [
        "C",
        "dim",
        "2*C",
        "C/4",
        "C/4*3",
        "C//4*3",
        "C//4*4",
        "H*W",
        "H+W",
        "C/(H+W)",
        "C/(H-W)",
        "C//3//2*2",
    ]
    assert len({normal_form(expression(text)) for text in texts}) == len(texts)


def test_dim_is_c_only_where_asked():
    assert normal_form(expression("dim/2"), True) == normal_form(expression("C/2"))
    assert normal_form(expression("dim/2")) != normal_form(expression("C/2"))


@given(randoms())
def test_a_respelled_expression_keeps_value_and_normal_form(rng: Random):
    tree = expression(
        rng.choice(["C", "C/4", "C//4*4", "dim+C", "H*W", "(C+4)//4*4", "C/3", "8", "(H+1)//2"])
    )
    other = respelled(rng, tree)
    assert normal_form(other) == normal_form(tree)
    for values in (SIZES, {"B": 3, "C": 9, "dim": 17, "H": 4, "W": 11}):
        assert other.integer(values) == tree.integer(values)
