import { useSignal } from '@preact/signals'
import { plain } from '../lib/exact'
import type { PortfolioState } from '../lib/state'
import { analyze, cancelAnalysis, linkState, type Run, run } from '../store'

const TITLES: Record<string, string> = {
  portfolio_risk: 'Portfolio risk',
  concentration: 'Concentration',
  correlation: 'Correlation',
  momentum: 'Momentum',
  allocation_score: 'Allocation score',
}

const STATES: Record<Run['state'], string> = {
  asked: 'asked for',
  running: 'running',
  completed: 'complete',
  cancelled: 'cancelled',
  failed: 'failed',
}

/** Choose a ticker, and its five metrics arrive one by one; choosing another cancels. */
export function Analysis({ state }: { state: PortfolioState }) {
  const tickers = state.positions.filter((one) => one.position_type !== 'CASH').map((one) => one.instrument_id).sort()
  const chosen = useSignal('')
  const current = run.value?.portfolioId === state.portfolio_id ? run.value : null
  const isRunning = current?.state === 'running' || current?.state === 'asked'
  const asked = tickers.includes(chosen.value) ? chosen.value : tickers[0]
  const submit = (event: Event): void => {
    event.preventDefault()
    if (asked) analyze(asked)
  }
  return (
    <section class="card" aria-labelledby="analysis">
      <h3 id="analysis">Analysis</h3>
      <form class="inline-form" onSubmit={submit}>
        <label for="ticker">Instrument</label>
        <select id="ticker" value={asked ?? ''} onChange={(event) => (chosen.value = event.currentTarget.value)}>
          {tickers.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
        <button type="submit" class="main" disabled={!tickers.length || linkState.value !== 'open'}>
          Analyze
        </button>
        {isRunning && (
          <button type="button" class="quiet" onClick={cancelAnalysis}>
            Cancel
          </button>
        )}
      </form>
      {current && (
        <div role="status">
          <p class="hint">
            {`${current.ticker}: ${STATES[current.state]}`}
            {current.note && ` (${current.note})`}
          </p>
          <dl class="metrics">
            {(current.metrics.length ? current.metrics : Object.keys(TITLES)).map((metric) => (
              <Metric key={metric} metric={metric} current={current} />
            ))}
          </dl>
        </div>
      )}
    </section>
  )
}

function Metric({ metric, current }: { metric: string; current: Run }) {
  const result = current.results[metric]
  const isPending = !result && (current.state === 'running' || current.state === 'asked')
  return (
    <div class={isPending ? 'pending' : ''}>
      <dt>{TITLES[metric] ?? metric}</dt>
      <dd>{result ? (result.value === null ? <small>{result.reason ?? 'cannot be computed'}</small> : plain(result.value, 4)) : isPending ? '…' : '–'}</dd>
    </div>
  )
}
