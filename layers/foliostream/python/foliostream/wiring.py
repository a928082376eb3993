"""The one composition root: adapters built on first use and kept for the container.

A function imports this module and takes what it needs from ``wiring()``; what it does not need is not even
imported, which is most of a cold start. Tests build a ``Wiring`` of their own, or set an attribute before its first
use to put another part in.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from typing import TYPE_CHECKING
from uuid import uuid4

from foliostream import preloading, queues
from foliostream.errors import SettingsError
from foliostream.queues import Queue
from foliostream.settings import Settings

if TYPE_CHECKING:
    from datetime import tzinfo

    from botocore.config import Config
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

    from foliostream import ports
    from foliostream.adapters.redis_hot_store import RedisHotStore
    from foliostream.application.accept_fills import FillAccepter
    from foliostream.application.amending import Amending
    from foliostream.application.analytics import Analytics
    from foliostream.application.announcing import Announcer
    from foliostream.application.book_swaps import SwapBooking
    from foliostream.application.broker_orders import BrokerOrders
    from foliostream.application.close_day import DayClosing
    from foliostream.application.computing import Computing
    from foliostream.application.dead_letters import DeadLetters
    from foliostream.application.fill_orders import OrderFiller
    from foliostream.application.liquidating import Liquidator
    from foliostream.application.managers import Managers
    from foliostream.application.margin_check import MarginCheck, Previewing
    from foliostream.application.margin_events import MarginFollowUp
    from foliostream.application.marking import Marker
    from foliostream.application.order_watch import OrderWatch
    from foliostream.application.ordering import Ordering
    from foliostream.application.origins import Origins
    from foliostream.application.pacing import Pacer
    from foliostream.application.portfolios import Portfolios
    from foliostream.application.postbacks import Postbacks
    from foliostream.application.project_ledger import LedgerProjection
    from foliostream.application.projecting import Projector
    from foliostream.application.push import Sender
    from foliostream.application.rebuild_hot import HotRebuild
    from foliostream.application.reconcile import Reconciliation
    from foliostream.application.reconcile_on_demand import Reconciling
    from foliostream.application.reconcile_schedule import ReconcileSchedule
    from foliostream.application.record_fill import FillRecorder
    from foliostream.application.resetting import Resetting
    from foliostream.application.runs import Runs
    from foliostream.application.status import Operations
    from foliostream.application.sweep import Sweep
    from foliostream.application.symbols import Symbols
    from foliostream.application.taking_prices import PriceTaking
    from foliostream.application.tickets import TicketOffice
    from foliostream.application.valuing import Valuer
    from foliostream.application.watching import Watching
    from foliostream.domain.margin_states import MarginRules
    from foliostream.domain.market_hours import Hours
    from foliostream.domain.reconciliation import Report

# Connections of one client, and the threads that use them: one core is busy with 16.
MAX_POOL_CONNECTIONS = 16
SENDERS = 8


def _config() -> Config:
    from botocore.config import Config

    # Short enough that an invocation can try again within its own time; the rest is the queues' business.
    return Config(
        connect_timeout=2,
        read_timeout=5,
        retries={"mode": "standard", "max_attempts": 4},
        max_pool_connections=MAX_POOL_CONNECTIONS,
    )


def _hours(raw: str) -> Hours:
    from foliostream.domain import market_hours

    try:
        return market_hours.parse(raw)
    except ValueError as fault:
        raise SettingsError(f"settings: PORTFOLIO_KITE_HOURS: {fault}") from None


class Wiring:
    """Every part of the system, made of ``settings``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def clock(self) -> ports.Clock:
        """This machine's."""
        from foliostream.adapters.system_clock import SystemClock

        return SystemClock()

    @cached_property
    def _dynamodb(self) -> DynamoDBClient:
        import boto3

        from foliostream.adapters.dynamodb_batch import refuse_half_answers

        return refuse_half_answers(boto3.client("dynamodb", config=_config()))

    @cached_property
    def _sqs(self) -> SQSClient:
        import boto3

        return boto3.client("sqs", config=_config())

    @cached_property
    def ledger(self) -> ports.Ledger:
        """The books."""
        from foliostream.adapters.dynamodb_ledger import DynamoDbLedger

        return DynamoDbLedger(self._dynamodb, self.settings.ledger_table)

    @cached_property
    def instruments(self) -> ports.Instruments:
        """The registry, cached per container."""
        from foliostream.adapters.dynamodb_instruments import DynamoDbInstruments

        return DynamoDbInstruments(self._dynamodb, self.settings.ledger_table, self.clock)

    @cached_property
    def price_history(self) -> ports.PriceHistory:
        """Daily closes."""
        from foliostream.adapters.dynamodb_closes import DynamoDbCloses

        return DynamoDbCloses(self._dynamodb, self.settings.ledger_table, self._pool)

    @cached_property
    def market_zone(self) -> tzinfo:
        """The time zone whose dates name the market's days; ``SettingsError`` for one that the system has not."""
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            return ZoneInfo(self.settings.close_time_zone)
        except (ZoneInfoNotFoundError, ValueError) as fault:
            raise SettingsError(f"settings: PORTFOLIO_CLOSE_TIME_ZONE: {fault}") from None

    @cached_property
    def hot(self) -> ports.HotStore:
        """Prices, books, snapshots and promises, in the store the settings name."""
        if self.settings.hot_store == "valkey":
            return self._redis
        from foliostream.adapters.dynamodb_hot_store import DynamoDbHotStore

        settings = self.settings
        return DynamoDbHotStore(self._dynamodb, settings.hot_table, self.clock, self._pool, shards=settings.shards)

    @cached_property
    def _redis(self) -> RedisHotStore:
        from foliostream.adapters.redis_connection import RedisConnection
        from foliostream.adapters.redis_hot_store import RedisHotStore

        settings = self.settings
        connection = RedisConnection(settings.redis_url, shards=settings.shards, iam=settings.redis_iam)
        return RedisHotStore(connection, self.clock)

    @cached_property
    def holders(self) -> ports.Holders:
        """Dependents: sets in Valkey, else the ledger's own holder items."""
        if self.settings.hot_store == "valkey":
            return self._redis
        from foliostream.adapters.dynamodb_holders import DynamoDbHolders

        return DynamoDbHolders(self._dynamodb, self.settings.ledger_table, self._pool)

    @cached_property
    def dependents(self) -> ports.Dependents:
        """The same, as the repair changes them."""
        if self.settings.hot_store == "valkey":
            return self._redis
        from foliostream.adapters.dynamodb_holders import DynamoDbHolders

        return DynamoDbHolders(self._dynamodb, self.settings.ledger_table, self._pool)

    @cached_property
    def queues(self) -> ports.Queues:
        """Dirty, bulk, refresh, delayed and push queues."""
        from foliostream.adapters.sqs_queues import SqsQueues

        base = self.settings.queues
        return SqsQueues(self._sqs, queues.urls(base), queues.dead_letter_urls(base))

    @cached_property
    def fill_queue(self) -> ports.FillQueue:
        """Accepted fills on their way into the books."""
        from foliostream.adapters.sqs_fills import SqsFills

        base = self.settings.queues
        return SqsFills(self._sqs, base + Queue.FILLS, base + Queue.LIVE_FILLS, queues.dead_letter_urls(base))

    @cached_property
    def dead_letters(self) -> ports.DeadLetters:
        """Records of topics that no retry can mend."""
        return self.fill_queue

    @cached_property
    def fill_accepter(self) -> FillAccepter:
        """Judges fills and queues them."""
        from foliostream.application.accept_fills import FillAccepter

        return FillAccepter(self.ledger, self.instruments, self.fill_queue, self.settings.fills_owner)

    @cached_property
    def fill_recorder(self) -> FillRecorder:
        """Books fills; remembers portfolios between them."""
        from foliostream.application.record_fill import FillRecorder

        return FillRecorder(
            ledger=self.ledger,
            instruments=self.instruments,
            prices=self.hot,
            queue=self.fill_queue,
            clock=self.clock,
            margin_check=self.margin_check,
            managers=self.managers,
        )

    @cached_property
    def feed_timer(self) -> ports.FeedTimer:
        """Delayed messages of the market feed to itself."""
        from foliostream.adapters.sqs_queues import SqsFeedTimer

        return SqsFeedTimer(self._sqs, self.settings.queues + Queue.FEED)

    @cached_property
    def bus(self) -> ports.EventBus:
        """EventBridge."""
        import boto3

        from foliostream.adapters.eventbridge_bus import EventBridgeBus

        return EventBridgeBus(boto3.client("events", config=_config()), self.settings.event_bus)

    @cached_property
    def quotes(self) -> ports.QuoteSource | None:
        """The market data provider; None where none is set."""
        if self.settings.market_provider == "http":
            from foliostream.adapters.http_quotes import HttpQuotes

            return HttpQuotes(self.settings.market_http_url)
        if self.settings.market_provider == "replay":
            from foliostream.adapters.replay_quotes import ReplayQuotes

            return ReplayQuotes()
        return None

    @cached_property
    def connections(self) -> ports.Connections:
        """WebSocket connections, subscriptions, outboxes."""
        from foliostream.adapters.dynamodb_connections import DynamoDbConnections

        return DynamoDbConnections(self._dynamodb, self.settings.sessions_table)

    @cached_property
    def sessions(self) -> ports.Sessions:
        """What clients find again."""
        from foliostream.adapters.dynamodb_sessions import DynamoDbSessions

        return DynamoDbSessions(self._dynamodb, self.settings.sessions_table)

    @cached_property
    def runs(self) -> Runs:
        """Runs of an analysis, in sessions."""
        from foliostream.application.runs import Runs

        return Runs(self.sessions, self.connections, self.marker, self.clock, lambda: uuid4().hex)

    @cached_property
    def notices(self) -> ports.Notices:
        """What happened to portfolios, kept for replay."""
        from foliostream.adapters.dynamodb_notices import DynamoDbNotices

        return DynamoDbNotices(self._dynamodb, self.settings.sessions_table)

    @cached_property
    def announcer(self) -> Announcer:
        """Tells watchers what happened to a portfolio."""
        from foliostream.application.announcing import Announcer

        kept_ms = self.settings.session_ttl_seconds * 1000
        return Announcer(self.notices, self.connections, self.hot, self.marker, self.clock, kept_ms)

    @cached_property
    def gateway(self) -> ports.Gateway:
        """Posts to WebSocket clients."""
        import boto3

        from foliostream.adapters.websocket_gateway import WebSocketGateway

        return WebSocketGateway(boto3.client("apigatewaymanagementapi", config=_config()))

    @cached_property
    def ticket_office(self) -> TicketOffice:
        """Issues and redeems tickets for the WebSocket."""
        import secrets

        from foliostream.adapters.dynamodb_tickets import DynamoDbTickets
        from foliostream.application.tickets import TicketOffice

        tickets = DynamoDbTickets(self._dynamodb, self.settings.sessions_table)
        return TicketOffice(tickets, self.clock, secrets.token_urlsafe, self._socket_url)

    def _socket_url(self) -> str:
        """The WebSocket is where clients are posted to."""
        import boto3

        posted_to: str = boto3.client("apigatewaymanagementapi", config=_config()).meta.endpoint_url
        return posted_to.replace("http", "ws", 1)

    @cached_property
    def token_verifier(self) -> ports.TokenVerifier:
        """Proves tokens of the issuer; keeps its keys."""
        from foliostream.adapters.jwks_tokens import JwksTokenVerifier

        settings = self.settings
        return JwksTokenVerifier(
            settings.jwks_url, settings.jwt_issuer, settings.jwt_audience, settings.jwt_leeway_seconds
        )

    @cached_property
    def marker(self) -> Marker:
        """Marks portfolios and connections dirty."""
        from foliostream.application.marking import Marker

        settings = self.settings
        return Marker(
            queues=self.queues,
            records=self.hot,
            clock=self.clock,
            window_ms=settings.window_ms,
            flush_ms=settings.flush_ms,
            shards=settings.shards,
            keys_per_message=settings.keys_per_message,
            new_nonce=lambda: uuid4().hex,
            origins=self.origins,
        )

    @cached_property
    def origins(self) -> Origins:
        """What set off the work of this invocation."""
        from foliostream.application.origins import Origins

        return Origins()

    @cached_property
    def margin_rules(self) -> MarginRules:
        """The levels at which margin accounts are called and stopped out."""
        from foliostream.domain.margin_states import MarginRules, thresholds

        calls, stops = self.settings.margin_call_percent, self.settings.stop_out_percent
        limits = {name: thresholds(calls[name], stops[name]) for name in calls}
        return MarginRules(limits, basis=self.settings.margin_basis)

    @cached_property
    def liquidations(self) -> ports.Liquidations:
        """Stop-outs on their way into the books."""
        from foliostream.adapters.sqs_liquidations import SqsLiquidations

        return SqsLiquidations(self._sqs, self.settings.queues + Queue.LIQUIDATIONS, self.clock)

    @cached_property
    def margin_follow_up(self) -> MarginFollowUp:
        """Tells margin events and orders liquidations."""
        from foliostream.application.margin_events import MarginFollowUp

        settings = self.settings
        return MarginFollowUp(
            snapshots=self.hot,
            instruments=self.instruments,
            bus=self.bus,
            announce=self.announcer,
            liquidations=self.liquidations,
            marker=self.marker,
            rules=self.margin_rules,
            stale_after_ms=settings.stale_price_seconds * 1000,
            partial="partial" in settings.liquidation,
            costs=settings.paper_costs,
            notes=self._notes,
        )

    @cached_property
    def liquidator(self) -> Liquidator:
        """Closes what stops out."""
        from foliostream.application.liquidating import Liquidator

        protected = "protected" in self.settings.liquidation
        return Liquidator(self.ledger, self.instruments, self.hot, self.bus, self.clock, protected)

    @cached_property
    def valuer(self) -> Valuer:
        """Values portfolios."""
        from foliostream.application.valuing import Valuer

        return Valuer(
            books=self.hot,
            snapshots=self.hot,
            prices=self.hot,
            instruments=self.instruments,
            ledger=self.ledger,
            holders=self.holders,
            marker=self.marker,
            clock=self.clock,
            notes=self._notes,
            stale_after_ms=self.settings.stale_price_seconds * 1000,
            rules=self.margin_rules,
        )

    @cached_property
    def pacer(self) -> Pacer:
        """Sees to valuations that have to wait."""
        from foliostream.application.pacing import Pacer

        return Pacer(self.hot, self.marker, self.clock)

    @cached_property
    def projector(self) -> Projector:
        """Brings the hot store up to the ledger."""
        from foliostream.application.projecting import Projector

        return Projector(self.hot, self.holders, self.marker)

    @cached_property
    def ledger_projection(self) -> LedgerProjection:
        """What becomes of a change of the ledger."""
        from foliostream.application.project_ledger import LedgerProjection

        return LedgerProjection(self.projector, self.valuer, self.bus, self.queues, self.clock, self.announcer)

    @cached_property
    def hot_rebuild(self) -> HotRebuild:
        """Makes the hot store again from the ledger."""
        from foliostream.adapters.dynamodb_rebuild import DynamoDbRebuildRecords
        from foliostream.adapters.sqs_rebuild import SqsRebuildQueue
        from foliostream.application.rebuild_hot import HotRebuild

        settings = self.settings
        return HotRebuild(
            ledger=self.ledger,
            records=DynamoDbRebuildRecords(self._dynamodb, settings.hot_table),
            queue=SqsRebuildQueue(self._sqs, settings.queues + Queue.REBUILD),
            projector=self.projector,
            symbols=self.symbols,
            connections=self.connections,
            snapshots=self.hot,
            marker=self.marker,
            clock=self.clock,
            new_run_id=lambda: uuid4().hex,
        )

    @cached_property
    def symbols(self) -> Symbols:
        """Checkpoints, silence, changed instruments."""
        from foliostream.adapters.dynamodb_notes import DynamoDbNotes
        from foliostream.application.symbols import Symbols

        return Symbols(
            prices=self.hot,
            instruments=self.instruments,
            holders=self.holders,
            marker=self.marker,
            notes=DynamoDbNotes(self._dynamodb, self.settings.ledger_table),
            clock=self.clock,
            stale_after_ms=self.settings.stale_price_seconds * 1000,
        )

    @cached_property
    def _notes(self) -> ports.Notes:
        from foliostream.adapters.dynamodb_notes import DynamoDbNotes

        return DynamoDbNotes(self._dynamodb, self.settings.hot_table)

    @cached_property
    def sweep(self) -> Sweep:
        """Finds what got lost."""
        from foliostream.application.comparing import Comparison
        from foliostream.application.late_promises import LatePromises
        from foliostream.application.repairing import Repair
        from foliostream.application.sweep import Sweep

        hot = self.hot
        comparison = Comparison(self.ledger, hot, hot, hot, self.marker, self._notes, self.clock)
        return Sweep(
            promises=LatePromises(hot, self.queues, self.marker, comparison, self.settings.skew_ms),
            symbols=self.symbols,
            comparison=comparison,
            repair=Repair(
                self.ledger, self.instruments, self.holders, self.dependents, self.marker, self._notes, self.clock
            ),
            notes=self._notes,
            clock=self.clock,
        )

    @cached_property
    def operations(self) -> Operations:
        """The system's status."""
        import boto3

        from foliostream.adapters.cloudwatch_alarms import CloudWatchAlarms
        from foliostream.adapters.sqs_depths import SqsDepths
        from foliostream.application.status import Operations

        depths = SqsDepths(self._sqs, queues.shown_urls(self.settings.queues), self._pool)
        alarms = CloudWatchAlarms(boto3.client("cloudwatch", config=_config()), self.settings.stack, self.clock)
        return Operations(self.hot, self.hot, depths, self._notes, alarms, self.clock)

    @cached_property
    def accounts(self) -> ports.Accounts:
        """Brokers' accounts."""
        from foliostream.adapters.dynamodb_accounts import DynamoDbAccounts

        return DynamoDbAccounts(self._dynamodb, self.settings.ledger_table)

    @cached_property
    def _turns(self) -> ports.Turns:
        from foliostream.adapters.dynamodb_turns import DynamoDbTurns

        return DynamoDbTurns(self._dynamodb, self.settings.hot_table, self.clock)

    @cached_property
    def kite(self) -> ports.Broker:
        """Zerodha; its client is there only where its layer is."""
        import boto3

        from foliostream.adapters.brokers.kite import KiteBroker

        secrets = boto3.client("secretsmanager", config=_config())
        return KiteBroker(secrets, self.settings.kite_secret_arn, self.settings.kite_root, self._turns)

    @cached_property
    def broker_orders(self) -> BrokerOrders:
        """Fills out of a broker's orders."""
        from foliostream.application.broker_orders import BrokerOrders

        return BrokerOrders(self.accounts, self.instruments, self.ledger, self.fill_queue, self.clock)

    @cached_property
    def reconciliation(self) -> Reconciliation:
        """Compares brokers' accounts with the books."""
        from foliostream.application.reconcile import Reconciliation
        from foliostream.domain.kite import BROKER

        return Reconciliation(
            ledger=self.ledger,
            instruments=self.instruments,
            prices=self.hot,
            accounts=self.accounts,
            brokers={BROKER: self.kite},
            orders=self.broker_orders,
            bus=self.bus,
            announce=self.announcer,
            turns=self._turns,
            clock=self.clock,
            hours=_hours(self.settings.kite_hours),
            holidays=self.settings.market_holidays,
            count=self._count_report,
        )

    def _count_report(self, report: Report) -> None:
        from foliostream.domain.reconciliation import figures

        self._measure(figures(report))

    def _measure(self, figures: Mapping[str, int | Sequence[int]]) -> None:
        from foliostream import metrics

        metrics.emit(self.clock.now_ms(), {"Stack": self.settings.stack}, figures)

    @cached_property
    def price_taking(self) -> PriceTaking:
        """Prices in."""
        from foliostream.application.taking_prices import PriceTaking

        return PriceTaking(
            prices=self.hot,
            holders=self.holders,
            instruments=self.instruments,
            marker=self.marker,
            counters=self.hot,
            managers=self.managers,
            clock=self.clock,
            measure=self._measure,
        )

    @cached_property
    def reconcile_schedule(self) -> ReconcileSchedule:
        """When accounts are reconciled."""
        from foliostream.adapters.sqs_reconcile import SqsReconcile
        from foliostream.application.reconcile_schedule import ReconcileSchedule

        settings = self.settings
        return ReconcileSchedule(
            accounts=self.accounts,
            notes=self._notes,
            queue=SqsReconcile(self._sqs, settings.queues + Queue.RECONCILE),
            reconcile=self.reconciliation,
            clock=self.clock,
            interval_ms=settings.reconcile_interval_seconds * 1000,
        )

    @cached_property
    def managers(self) -> Managers:
        """What execution modes do on their own, by mode."""
        from foliostream.application.managers import KiteManager, PaperManager
        from foliostream.domain.keys import PAPER, ZERODHA

        return {
            PAPER: PaperManager(
                clock=self.clock,
                instruments=self.instruments,
                starting_cash=self.settings.starting_cash,
                watch=lambda: self.order_watch,
                filler=lambda: self.order_filler,
            ),
            ZERODHA: KiteManager(
                postbacks=lambda: self._postbacks,
                reconciliation=lambda: self.reconciliation,
                schedule=lambda: self.reconcile_schedule,
            ),
        }

    @cached_property
    def _postbacks(self) -> Postbacks:
        from foliostream.application.postbacks import Postbacks

        return Postbacks(self.accounts, self.kite, self.broker_orders)

    @cached_property
    def reconciling(self) -> Reconciling:
        """Reconciliation on demand."""
        from foliostream.application.reconcile_on_demand import Reconciling

        return Reconciling(self.ledger, self.managers)

    @cached_property
    def portfolios(self) -> Portfolios:
        """Portfolios over REST."""
        from foliostream.application.portfolios import Portfolios

        return Portfolios(self.ledger, self.instruments, self.valuer, self.marker, self.clock, self.margin_check)

    @cached_property
    def margin_check(self) -> MarginCheck:
        """Margin before something is booked."""
        from foliostream.application.margin_check import MarginCheck

        settings = self.settings
        return MarginCheck(
            prices=self.hot,
            instruments=self.instruments,
            stale_after_ms=settings.stale_price_seconds * 1000,
            account_types=settings.margin_check,
            basis=settings.margin_basis,
        )

    @cached_property
    def previewing(self) -> Previewing:
        """Previews of orders."""
        from foliostream.application.margin_check import Previewing

        return Previewing(self.ledger, self.margin_check, self.clock)

    @cached_property
    def analytics(self) -> Analytics:
        """Risk and return of portfolios."""
        from foliostream.application.analytics import Analytics

        return Analytics(
            portfolios=self.portfolios,
            ledger=self.ledger,
            instruments=self.instruments,
            price_history=self.price_history,
            clock=self.clock,
            zone=self.market_zone,
        )

    @cached_property
    def amending(self) -> Amending:
        """Changes of status and settings."""
        from foliostream.application.amending import Amending

        return Amending(self.ledger, self.portfolios, self.clock)

    @cached_property
    def order_watch(self) -> OrderWatch:
        """Tells new prices to whoever fills open orders."""
        from foliostream.application.order_watch import OrderWatch

        return OrderWatch(self.hot, self._order_queue)

    @cached_property
    def _order_queue(self) -> ports.OrderQueue:
        from foliostream.adapters.sqs_orders import SqsOrders

        return SqsOrders(self._sqs, self.settings.queues + Queue.ORDERS)

    @cached_property
    def _orders(self) -> ports.Orders:
        from foliostream.adapters.dynamodb_orders import DynamoDbOrders

        return DynamoDbOrders(self._dynamodb, self.settings.ledger_table)

    @cached_property
    def order_filler(self) -> OrderFiller:
        """Fills open orders."""
        from foliostream.application.executing import Execution
        from foliostream.application.fill_orders import OrderFiller

        settings = self.settings
        execution = Execution(
            ledger=self.ledger,
            instruments=self.instruments,
            prices=self.hot,
            clock=self.clock,
            costs=settings.paper_costs,
            stale_after_ms=settings.stale_price_seconds * 1000,
            margin_check=self.margin_check,
        )
        return OrderFiller(execution, self._orders, self.hot, self._order_queue)

    @cached_property
    def resetting(self) -> Resetting:
        """Brings paper accounts back to their start."""
        from foliostream.application.resetting import Resetting

        return Resetting(self.ledger, self._orders, self.instruments, self.hot, self.portfolios, self.clock)

    @cached_property
    def ordering(self) -> Ordering:
        """Simulated orders of paper accounts."""
        from foliostream.application.ordering import Ordering

        filler = self.order_filler
        return Ordering(filler.execution, self._orders, self.hot, filler, lambda: uuid4().hex[:12])

    @cached_property
    def day_closing(self) -> DayClosing:
        """Closes days in the market's time zone."""
        from foliostream.adapters.sqs_close import SqsCloseQueue
        from foliostream.application.close_day import DayClosing

        settings = self.settings
        return DayClosing(
            ledger=self.ledger,
            prices=self.hot,
            instruments=self.instruments,
            price_history=self.price_history,
            queue=SqsCloseQueue(self._sqs, settings.queues + Queue.CLOSE_DAY),
            clock=self.clock,
            zone=self.market_zone,
            holidays=settings.market_holidays,
            stale_after_ms=settings.stale_price_seconds * 1000,
            each=self.each,
        )

    @cached_property
    def swap_booking(self) -> SwapBooking:
        """Charges what is held over night."""
        from foliostream.adapters.sqs_close import SqsCloseQueue
        from foliostream.application.book_swaps import SwapBooking

        queue = SqsCloseQueue(self._sqs, self.settings.queues + Queue.BOOK_SWAPS)
        return SwapBooking(self.ledger, self.hot, self.instruments, queue, self.clock, self.each)

    @cached_property
    def sender(self) -> Sender:
        """Sends connections what waits for them."""
        from foliostream.application.push import Sender

        return Sender(self.connections, self.sessions, self.hot, self.valuer, self.gateway, self.clock)

    @cached_property
    def _lambda(self) -> LambdaClient:
        import boto3

        return boto3.client("lambda", config=_config())

    @cached_property
    def starter(self) -> ports.AnalysisStarter:
        """Has analyses computed; the client is not made before the first one."""
        from foliostream.adapters.lambda_starter import LambdaStarter

        return LambdaStarter(lambda: self._lambda, f"{self.settings.stack}-analyze")

    @cached_property
    def dead_letter_office(self) -> DeadLetters:
        """Dead letters for operators. What marks and projects is made only for letters that need it."""
        import boto3

        from foliostream.adapters.dynamodb_stream import DynamoDbStream
        from foliostream.adapters.lambda_functions import LambdaFunctions
        from foliostream.adapters.sqs_depths import SqsDepths
        from foliostream.adapters.sqs_letters import SqsLetters
        from foliostream.application.dead_letters import DeadLetters

        base = self.settings.queues
        urls = queues.all_dead_letter_urls(base)
        return DeadLetters(
            letters=SqsLetters(self._sqs, urls, queues.source_urls(base)),
            depths=SqsDepths(self._sqs, urls, self._pool),
            functions=LambdaFunctions(lambda: self._lambda),
            ledger=self.ledger,
            stream=DynamoDbStream(boto3.client("dynamodbstreams", config=_config())),
            projection=lambda: self.ledger_projection,
            marker=lambda: self.marker,
            clock=self.clock,
            new_nonce=lambda: uuid4().hex,
        )

    @cached_property
    def computing(self) -> Computing:
        """Computes analyses."""
        from foliostream.application.computing import Computing

        return Computing(
            sessions=self.sessions,
            runs=self.runs,
            instruments=self.instruments,
            price_history=self.price_history,
            clock=self.clock,
            zone=self.market_zone,
            each=self.each,
        )

    @cached_property
    def watching(self) -> Watching:
        """What WebSocket clients may do."""
        from foliostream.application.analyzing import Analyzing
        from foliostream.application.answering import Answers
        from foliostream.application.subscribing import Subscribing
        from foliostream.application.watching import Watching

        kept_ms = self.settings.session_ttl_seconds * 1000
        answers = Answers(self.connections, self.gateway, self.marker, self.sender, self.clock)
        subscribing = Subscribing(
            connections=self.connections,
            sessions=self.sessions,
            notices=self.notices,
            snapshots=self.hot,
            ledger=self.ledger,
            answers=answers,
            clock=self.clock,
            kept_ms=kept_ms,
        )
        analyzing = Analyzing(subscribing, self.valuer, self.runs, self.starter, answers)
        return Watching(self.connections, self.sessions, self.gateway, subscribing, analyzing, answers, kept_ms)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(MAX_POOL_CONNECTIONS, thread_name_prefix="store")

    @cached_property
    def _senders(self) -> ThreadPoolExecutor:
        """Apart from the stores' pool: a sender waits for stores, and whoever waits for its own pool waits for ever."""
        return ThreadPoolExecutor(SENDERS, thread_name_prefix="sender")

    def each(self, work: Callable[[str], str | None], items: Iterable[str]) -> Iterable[str | None]:
        """Results of ``work`` over the items in order, several at a time: posting to a client is waiting."""
        todo = list(items)
        return map(work, todo) if len(todo) < 2 else self._senders.map(work, todo)


@cache
def wiring() -> Wiring:
    """The container's own; raises ``SettingsError`` if the environment is not as it must be."""
    # Containers that start from one snapshot (SnapStart) have one state: they would wait the same times between tries.
    random.seed()
    return Wiring(Settings.read(os.environ))


if preloading.IS_FOR_A_SNAPSHOT:
    preloading.preload()
