"""The language's definition for prompts is complete, true to the operator table, and its examples verify."""

import re

import pytest

from nader.graph import OPERATORS, Role, Site, check, language_reference, parse, verify
from nader.graph.reference import MEANINGS, ROLES


def test_every_operator_and_every_role_is_explained():
    assert set(MEANINGS) == set(OPERATORS)
    assert set(ROLES) == set(Role)


@pytest.mark.parametrize("role", Role)
def test_every_operator_is_given_as_it_is_called(role):
    text = language_reference(role)
    for operator in OPERATORS.values():
        assert f"- `{operator.signature}` (" in text
    assert ROLES[role] in text
    assert not any(ROLES[other] in text for other in Role if other is not role)


@pytest.mark.parametrize("role", Role)
def test_every_example_verifies_in_its_role(role):
    examples = re.findall(r"```\n(.*?)```", language_reference(role), re.DOTALL)
    assert len(examples) >= 2
    for text in examples:
        verdict = check(text, role)
        assert verdict.ok, verdict.report()
        assert not verdict.block.notes


def test_a_stem_of_a_quarter_is_among_the_examples():
    texts = re.findall(r"```\n(.*?)```", language_reference(Role.STEM), re.DOTALL)
    quarter = [Site(Role.STEM, 3, 32, 64, 64, "1/4")]
    assert [verify(parse(text), Role.STEM, quarter).ok for text in texts].count(True) == 1


def test_every_operator_takes_as_many_inputs_as_the_definition_says():
    text = language_reference("cell")
    for name, phrase in [
        ("Add", "2 or more inputs"),
        ("Multiply", "2 inputs"),
        ("BN", "1 input"),
        ("input", "no input"),
    ]:
        assert re.search(rf"`{name}[^`]*` \({phrase}\)", text)


@pytest.mark.parametrize(
    ("claim", "operation", "good"),
    [
        ("an even kernel with stride 1 keeps the size", "Conv2d(out_channels=C,kernel_size=4)", True),
        ("so does a dilated one", "Conv2d(out_channels=C,kernel_size=3,dilation=4)", True),
        ("a pair of sizes", "Conv2d(out_channels=C,kernel_size=(1,7))", True),
        ("groups must divide the channels", "Conv2d(out_channels=C,kernel_size=3,groups=7)", False),
        ("pooling without a stride does not keep the size", "AvgPool2d(kernel_size=3)", False),
        ("with stride 1 it does", "AvgPool2d(kernel_size=3,stride=1)", True),
        ("Linear never takes a map", "Linear(out_channels=C)", False),
        ("LN never takes a map", "LN", False),
        (
            "a size that is not whole is rounded down",
            "Conv2d(out_channels=C/5*5+C-C/5*5,kernel_size=1)",
            True,
        ),
        ("reshape works one size out", "reshape(B,-1,H,W)", True),
        ("a reduction leaves size 1", "mean(dim=1)", False),
        ("repeat multiplies the sizes", "repeat(1,1,1,1)", True),
    ],
)
def test_what_the_definition_claims_is_what_the_verifier_holds(claim, operation, good):
    assert check(f"##Claim##\n0:input\n1:output\n2:{operation}\n0->2\n2->1\n", Role.CELL).ok == good, claim
