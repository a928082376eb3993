import { age, money, percent, signOf } from '../lib/exact'
import type { PortfolioState } from '../lib/state'
import { nowMs, refresh, selected } from '../store'
import { Analysis } from './Analysis'
import { Changing } from './Changing'
import { Happenings } from './Happenings'
import { MarginGauge } from './MarginGauge'
import { Positions } from './Positions'
import { ValueChart } from './ValueChart'
import { Weights } from './Weights'

/** One portfolio, live. */
export function Portfolio({ portfolioId }: { portfolioId: string }) {
  const state = selected.value?.state
  if (!state) return <p class="card" role="status">{`Waiting for ${portfolioId} …`}</p>
  return (
    <>
      <Figures state={state} />
      <Warnings state={state} />
      <div class="pair">
        <ValueChart portfolioId={portfolioId} currency={state.base_currency} />
        {state.margin ? <MarginGauge margin={state.margin} currency={state.base_currency} /> : <Weights state={state} />}
      </div>
      <Positions state={state} />
      <div class="pair">
        <Analysis state={state} />
        <Happenings portfolioId={portfolioId} />
      </div>
    </>
  )
}

function Figures({ state }: { state: PortfolioState }) {
  const asOf = state.as_of ? nowMs.value - Date.parse(state.as_of) : null
  return (
    <section class="card figures" aria-label={state.portfolio_name}>
      <div class="headline">
        <h2>{state.portfolio_name}</h2>
        <p class="hint">
          {`${state.account_type} ${state.account_kind} account · ${state.portfolio_id}`}
          {state.status !== 'ACTIVE' && <b class="badge warning">{state.status}</b>}
        </p>
        <button type="button" class="quiet" onClick={refresh}>
          Refresh
        </button>
      </div>
      <dl>
        <div class="total">
          <dt>Total value</dt>
          <dd>
            <Changing amount={state.total_value} text={money(state.total_value)} /> <small>{state.base_currency}</small>
          </dd>
        </div>
        <Figure name="Daily change" amount={state.daily_change} after={percent(state.daily_change_percent)} signed />
        <Figure name="Daily P&L" amount={state.daily_pnl} signed />
        <Figure name="Unrealized P&L" amount={state.unrealized_pnl} signed />
        <Figure name="Realized P&L" amount={state.realized_pnl} signed />
        <Figure name="Cash" amount={state.cash_balance} />
        <div>
          <dt>Newest price</dt>
          <dd>{age(asOf)}</dd>
        </div>
      </dl>
    </section>
  )
}

function Figure(props: { name: string; amount: string | null; after?: string; signed?: boolean }) {
  const { name, amount, after, signed = false } = props
  return (
    <div>
      <dt>{name}</dt>
      <dd class={signed ? `sign${signOf(amount)}` : ''}>
        <Changing amount={amount} text={money(amount, signed)} />
        {after && amount !== null && <small>{` ${after}`}</small>}
      </dd>
    </div>
  )
}

function Warnings({ state }: { state: PortfolioState }) {
  const texts = [
    state.unpriced.length ? `Without a price: ${state.unpriced.join(', ')}. So there is no total: nothing is guessed.` : '',
    state.stale.length ? `Old prices: ${state.stale.join(', ')}.` : '',
    state.unreconciled_since ? `Not reconciled with the broker since ${new Date(state.unreconciled_since).toLocaleString('en-GB')}.` : '',
  ].filter(Boolean)
  return texts.length ? (
    <p class="card warnings" role="status">
      {texts.join(' ')}
    </p>
  ) : null
}
