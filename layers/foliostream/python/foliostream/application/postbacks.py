"""Kite Connect's postbacks: what an order has filled, as soon as the broker says so."""

from __future__ import annotations

from dataclasses import dataclass

from foliostream.application.broker_orders import BrokerOrders
from foliostream.domain import kite
from foliostream.errors import UnauthorizedError
from foliostream.ports import Accounts, Broker


@dataclass(frozen=True)
class Postbacks:
    """At least once and in any order: what was told before is known."""

    accounts: Accounts
    broker: Broker
    orders: BrokerOrders

    def __call__(self, body: str) -> int:
        """How many fills were queued. An account that is not ours is refused like a wrong checksum: nothing is told
        apart."""
        account = kite.postback_account(body)
        members = self.accounts.members(kite.BROKER, account) if kite.is_account(account) else []
        if not members:
            raise UnauthorizedError("the checksum is wrong")
        order = self.broker.reported(account, body)
        return self.orders.take(kite.BROKER, account, [order], members).queued
