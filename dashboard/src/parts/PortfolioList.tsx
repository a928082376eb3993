import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { age, money, percent, signOf } from '../lib/exact'
import { type Listed, MAX_WATCHED, nowMs, select, selectedId, shownOf, summaries } from '../store'
import { Changing } from './Changing'

const SEARCH_FROM = 8

export function PortfolioList() {
  const search = useSignal('')
  const wanted = search.value.toLowerCase()
  const listed = summaries.value.filter((one) => `${one.portfolio_name} ${one.portfolio_id}`.toLowerCase().includes(wanted))
  return (
    <nav aria-label="Portfolios" class="list">
      {summaries.value.length > SEARCH_FROM && (
        <input
          type="search"
          aria-label="Find a portfolio"
          placeholder="Find a portfolio"
          value={search.value}
          onInput={(event) => (search.value = event.currentTarget.value)}
        />
      )}
      <ul>
        {listed.map((one) => (
          <li key={one.portfolio_id}>
            <Row summary={one} />
          </li>
        ))}
      </ul>
      {summaries.value.length > MAX_WATCHED && (
        <p class="hint">{`The first ${MAX_WATCHED} are live; any other becomes live when chosen.`}</p>
      )}
    </nav>
  )
}

function Row({ summary }: { summary: Listed }) {
  const shown = shownOf(summary.portfolio_id).value
  const state = shown?.state
  const asOf = state?.as_of ? Date.parse(state.as_of) : null
  const isSelected = selectedId.value === summary.portfolio_id
  const element = useRef<HTMLButtonElement>(null)
  useEffect(() => {
    const [row, line] = [element.current, element.current?.closest('ul')]
    // Where the list is a line that scrolls sideways, as on a phone.
    if (isSelected && row && line) line.scrollLeft = row.offsetLeft - line.offsetLeft
  }, [isSelected])
  return (
    <button
      ref={element}
      type="button"
      class="row"
      aria-current={isSelected ? 'true' : undefined}
      onClick={() => select(summary.portfolio_id)}
    >
      <span class="name">{summary.portfolio_name}</span>
      <span class="kind" title="Account type, and the age of the newest price used">
        {[state?.account_type ?? summary.account_type, age(asOf === null ? null : nowMs.value - asOf)].filter(Boolean).join(' · ')}
      </span>
      <Changing class="figure" amount={state?.total_value} text={`${money(state?.total_value)} ${state?.base_currency ?? summary.base_currency ?? ''}`} />
      <span class={`percent sign${signOf(state?.daily_change)}`}>{percent(state?.daily_change_percent)}</span>
      <span class="marks">
        {state?.margin && state.margin.state !== 'ok' && (
          <b class={`badge ${state.margin.state}`}>{`margin ${state.margin.state.replace('_', ' ')}`}</b>
        )}
        {state && state.calc_status !== 'ok' && <b class="badge warning">{state.calc_status}</b>}
      </span>
    </button>
  )
}
