"""Caps on money, tokens and time that count calls in flight: no call begins that could pass one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio

from nader.llm.errors import BudgetExceeded, ErrorKind, LLMError

CAMPAIGN = "campaign"


@dataclass(frozen=True)
class Caps:
    """The most that may be spent; None is no cap."""

    money: float | None = None
    """US dollars."""
    tokens: int | None = None
    """Prompt and answer tokens together."""
    time: float | None = None
    """Seconds spent waiting for answers, summed over calls."""


@dataclass(frozen=True)
class Spent:
    """What calls took."""

    money: float = 0.0
    tokens: int = 0
    time: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.money + other.money, self.tokens + other.tokens, self.time + other.time)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.money - other.money, self.tokens - other.tokens, self.time - other.time)


@dataclass
class Hold:
    """A reservation, and what the call took in the end (nothing, as long as nothing was sent)."""

    reserved: Spent
    settled: Spent = field(default_factory=Spent)


@dataclass
class _Account:
    name: str
    caps: Caps
    spent: Spent = field(default_factory=Spent)
    held: Spent = field(default_factory=Spent)


class Budget:
    """Money, tokens and time, for the campaign as a whole and for each role.

    A call reserves the most it can take. Where that does not fit because of calls in flight, it waits for
    them to settle; where it would not fit even then, BudgetExceeded is raised and nothing is sent.
    """

    def __init__(
        self,
        campaign: Caps | None = None,
        roles: Mapping[str, Caps] | None = None,
        *,
        spent: Spent | None = None,
        spent_by_role: Mapping[str, Spent] | None = None,
    ) -> None:
        self._campaign = _Account(CAMPAIGN, campaign or Caps(), spent or Spent())
        self._caps = dict(roles or {})
        self._roles: dict[str, _Account] = {}
        for role, already in (spent_by_role or {}).items():
            self._role(role).spent = already
        self._changed = anyio.Condition()

    @property
    def spent(self) -> Spent:
        """Settled so far, over all roles."""
        return self._campaign.spent

    @property
    def reserved(self) -> Spent:
        """Held by calls in flight."""
        return self._campaign.held

    def spent_by(self, role: str) -> Spent:
        """Settled so far by one role."""
        return self._role(role).spent

    def caps_money(self, role: str) -> bool:
        """Whether a call of the role counts against a cap on money."""
        return any(account.caps.money is not None for account in (self._campaign, self._role(role)))

    @asynccontextmanager
    async def hold(self, role: str, *, money: float | None, tokens: int, time: float) -> AsyncIterator[Hold]:
        """Reserves; on leaving, books what `Hold.settled` says and lets go of the rest.

        `time` is what the call would like; `Hold.reserved.time` is what it may take, which can be less.
        Raises BudgetExceeded, and LLMError (unknown price) where a money cap meets a call without a price.
        """
        accounts = (self._campaign, self._role(role))
        if money is None and self.caps_money(role):
            raise LLMError(
                ErrorKind.UNKNOWN_PRICE,
                "a money cap is set and the model's price is unknown, so the cap could not hold: state the "
                "price in the settings, or cap tokens instead.",
            )
        wanted = Spent(money or 0.0, tokens, time)
        async with self._changed:
            while (granted := self._grant(accounts, wanted)) is None:
                await self._changed.wait()
            for account in accounts:
                account.held += granted
        hold = Hold(granted)
        try:
            yield hold
        finally:
            for account in accounts:
                account.held -= granted
                account.spent += hold.settled
            with anyio.CancelScope(shield=True):
                async with self._changed:
                    self._changed.notify_all()

    def _grant(self, accounts: tuple[_Account, ...], wanted: Spent) -> Spent | None:
        """The reservation, or None to wait for calls in flight. Raises BudgetExceeded."""
        granted = wanted
        for account in accounts:
            for resource in ("money", "tokens"):
                cap = getattr(account.caps, resource)
                if cap is None:
                    continue
                need, spent = getattr(wanted, resource), getattr(account.spent, resource)
                if spent + need > cap:
                    raise _exceeded(account, resource, need)
                if spent + getattr(account.held, resource) + need > cap:
                    return None
            if account.caps.time is not None:
                if account.spent.time >= account.caps.time:
                    raise _exceeded(account, "time", wanted.time)
                left = account.caps.time - account.spent.time - account.held.time
                if left <= 0:
                    return None
                granted = replace(granted, time=min(granted.time, left))
        return granted

    def _role(self, role: str) -> _Account:
        if role not in self._roles:
            self._roles[role] = _Account(role, self._caps.get(role, Caps()))
        return self._roles[role]


def _exceeded(account: _Account, resource: str, need: float) -> BudgetExceeded:
    cap, spent = getattr(account.caps, resource), getattr(account.spent, resource)
    whose = "the campaign's" if account.name == CAMPAIGN else f"the {account.name}'s"
    said = {"money": "{:.4f} USD", "tokens": "{:,.0f} tokens", "time": "{:,.0f} s"}[resource].format
    return BudgetExceeded(
        f"{whose} cap on {resource} is reached: {said(spent)} of {said(cap)} spent, "
        f"and the next call may take {said(need)}",
        scope=account.name,
        resource=resource,
        cap=cap,
        spent=spent,
    )
