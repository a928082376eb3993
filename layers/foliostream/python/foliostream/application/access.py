"""Who is calling, and what is theirs."""

from __future__ import annotations

from dataclasses import dataclass

from foliostream.domain.portfolio import Portfolio
from foliostream.errors import ForbiddenError, NotFoundError
from foliostream.ports import Ledger


@dataclass(frozen=True)
class Caller:
    """The verified subject of a token and its scopes."""

    subject: str
    scopes: frozenset[str] = frozenset()

    def require(self, scope: str) -> None:
        """Raises ``ForbiddenError`` without the scope."""
        if scope not in self.scopes:
            raise ForbiddenError(f"this needs the scope {scope}", code="MISSING_SCOPE", details=[{"scope": scope}])


def not_found(portfolio_id: str) -> NotFoundError:
    """The one answer for a portfolio that does not exist and for somebody else's."""
    return NotFoundError(f"no portfolio {portfolio_id}", code="PORTFOLIO_NOT_FOUND")


def own_portfolio(caller: Caller, portfolio_id: str, ledger: Ledger) -> Portfolio:
    """The caller's portfolio from the ledger; ``NotFoundError`` otherwise."""
    portfolio = ledger.load([portfolio_id]).get(portfolio_id)
    if portfolio is None or portfolio.owner != caller.subject:
        raise not_found(portfolio_id)
    return portfolio
