import { clock, money, percent, plain, signOf } from '../lib/exact'
import { type Happening, happenings } from '../store'

const TITLES: Record<string, string> = {
  margin_call: 'Margin call',
  margin_restored: 'Margin restored',
  margin_unknown: 'Margin unknown',
  stop_out: 'Stop out',
  fill: 'Fill',
  reconciliation: 'Reconciliation',
}

/** Fills, margin events and reports of the broker, newest first. */
export function Happenings({ portfolioId }: { portfolioId: string }) {
  const listed = happenings.value.filter((one) => one.portfolioId === portfolioId)
  return (
    <section class="card" aria-labelledby="events">
      <h3 id="events">Fills and events</h3>
      {listed.length === 0 && <p class="hint">None since this page was opened.</p>}
      <ol class="events" aria-live="polite">
        {listed.map((one) => (
          <li key={one.eventId} class={one.type}>
            <time dateTime={one.timestamp}>{clock(one.timestamp)}</time>
            <b>{TITLES[one.type] ?? one.type}</b>
            <span>{told(one)}</span>
          </li>
        ))}
      </ol>
    </section>
  )
}

function told({ type, content }: Happening): string {
  const text = (name: string) => (content[name] === undefined || content[name] === null ? null : String(content[name]))
  if (type === 'fill') {
    const done = text('side') === 'SELL' ? 'sold' : 'bought'
    const trade = `${done} ${plain(text('quantity'))} ${text('instrument_id')} at ${plain(text('price'), 6, 2)} ${text('currency')}`
    return signOf(text('realized_pnl')) ? `${trade}, realized ${money(text('realized_pnl'), true)}` : trade
  }
  if (type === 'reconciliation') return text('status') ?? ''
  const parts = [
    text('level_percent') && `level ${percent(text('level_percent'), false)}`,
    text('equity') && `equity ${money(text('equity'))}`,
    text('used') && `used ${money(text('used'))}`,
    text('reason'),
  ]
  return parts.filter(Boolean).join(', ')
}
