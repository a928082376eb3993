import { share } from '../lib/exact'
import type { PortfolioState } from '../lib/state'

const SHOWN = 8

/** The largest weights as bars; the rest as one. Shorts point to the other side. */
export function Weights({ state }: { state: PortfolioState }) {
  const weights = Object.entries(state.weights ?? {})
    .map(([name, weight]) => ({ name, weight, size: Number(weight) }))
    .sort((one, other) => Math.abs(other.size) - Math.abs(one.size))
  const listed = weights.slice(0, SHOWN)
  const rest = weights.slice(SHOWN).reduce((sum, one) => sum + one.size, 0)
  if (weights.length > SHOWN) listed.push({ name: `${weights.length - SHOWN} more`, weight: rest.toFixed(4), size: rest })
  const largest = Math.max(...listed.map((one) => Math.abs(one.size)), 0.0001)
  return (
    <section class="card" aria-labelledby="weights">
      <h3 id="weights">Weights</h3>
      {listed.length === 0 && (
        <p class="hint">
          {state.unpriced.length ? 'Not known while something has no price.' : 'None: the total is not above zero.'}
        </p>
      )}
      <ul class="bars">
        {listed.map((one) => (
          <li key={one.name}>
            <span class="name">{one.name}</span>
            <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
              <rect class={one.size < 0 ? 'fell' : ''} x="0" y="0" width={(Math.abs(one.size) / largest) * 100} height="10" rx="1" />
            </svg>
            <span class="figure">{share(one.weight)}</span>
          </li>
        ))}
      </ul>
    </section>
  )
}
