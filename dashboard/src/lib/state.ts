// What the server says about a portfolio, and how an update changes it (the contract's PortfolioState).

import type { Amount } from './exact'

export interface Position {
  instrument_id: string
  position_type: 'LONG' | 'SHORT' | 'CASH'
  quantity: Amount
  average_price: Amount | null
  mark: Amount | null
  market_value: Amount | null
  weight: Amount | null
  unrealized_pnl: Amount | null
  daily_pnl: Amount | null
  currency: string
  price_ts: string | null
  margin_used?: Amount | null
}

export interface Margin {
  balance: Amount
  equity: Amount | null
  used: Amount | null
  free: Amount | null
  level_percent: Amount | null
  exposure: Amount | null
  leverage_used: Amount | null
  state: 'ok' | 'warning' | 'call' | 'stop_out' | 'unknown'
  call_percent?: Amount | null
  stop_out_percent?: Amount | null
}

export interface PortfolioState {
  portfolio_id: string
  portfolio_name: string
  account_type: 'live' | 'demo' | 'paper'
  account_kind: 'cash' | 'margin'
  base_currency: string
  status: string
  total_value: Amount | null
  cash_balance: Amount | null
  positions: Position[]
  weights: Record<string, Amount>
  last_updated: string
  as_of: string | null
  calc_status: 'ok' | 'degraded' | 'unpriced'
  unpriced: string[]
  stale: string[]
  realized_pnl: Amount
  unrealized_pnl: Amount | null
  daily_change: Amount | null
  daily_change_percent: Amount | null
  daily_pnl: Amount | null
  margin: Margin | null
  unreconciled_since: string | null
  truncated?: boolean
}

export type Changes = Partial<PortfolioState> & { positions_removed?: string[] }

/** The state after an update: changed fields replaced, positions by instrument; the given one stays as it is. */
export function merged(state: PortfolioState, changes: Changes): PortfolioState {
  const { positions: changed = [], positions_removed: removed = [], ...fields } = changes
  if (!changed.length && !removed.length) return { ...state, ...fields, positions: state.positions }
  const positions = new Map((state.positions ?? []).map((position) => [position.instrument_id, position]))
  for (const position of changed) positions.set(position.instrument_id, position)
  for (const name of removed) positions.delete(name)
  return { ...state, ...fields, positions: [...positions.values()] }
}

/** Versions are milliseconds and fit a double exactly. */
export type Version = number

export interface Update {
  portfolio_id: string
  version: string
  previous_version: string
  data: Changes
}

export type Outcome = 'applied' | 'known' | 'gap'

/** What is on the screen of one portfolio. */
export interface Shown {
  version: Version
  state: PortfolioState
  arrivedAtMs: number
}

/** Apply an update to what is shown: a version had before is `known`, one that does not follow is a `gap`. */
export function applied(shown: Shown | undefined, update: Update, nowMs: number): [Outcome, Shown | undefined] {
  const version = Number(update.version)
  if (!shown) return ['gap', shown]
  if (version <= shown.version) return ['known', shown]
  if (Number(update.previous_version) !== shown.version) return ['gap', shown]
  return ['applied', { version, state: merged(shown.state, update.data), arrivedAtMs: nowMs }]
}
