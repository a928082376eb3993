import { describe, expect, it } from 'vitest'
import { applied, merged, type PortfolioState, type Position, type Shown } from '../lib/state'

const position = (name: string, quantity: string) => ({ instrument_id: name, quantity }) as Position
const state = { total_value: '10', positions: [position('AAPL', '1'), position('MSFT', '2')] } as PortfolioState
const shown: Shown = { version: 7, state, arrivedAtMs: 0 }
const update = (version: string, previous: string) => ({
  portfolio_id: 'p',
  version,
  previous_version: previous,
  data: { total_value: '11' },
})

describe('an update', () => {
  it('replaces what changed and nothing else', () => {
    const after = merged(state, { total_value: '12', positions: [position('MSFT', '3')], positions_removed: ['AAPL'] })
    expect(after.total_value).toBe('12')
    expect(after.positions).toEqual([position('MSFT', '3')])
    expect(state.positions).toHaveLength(2)
  })

  it('that follows is applied', () => {
    const [outcome, after] = applied(shown, update('9', '7'), 5)
    expect([outcome, after?.version, after?.state.total_value, after?.arrivedAtMs]).toEqual(['applied', 9, '11', 5])
  })

  it('that was had before changes nothing', () => {
    expect(applied(shown, update('7', '6'), 5)).toEqual(['known', shown])
  })

  it('that does not follow is a gap', () => {
    expect(applied(shown, update('9', '8'), 5)).toEqual(['gap', shown])
    expect(applied(undefined, update('9', '8'), 5)).toEqual(['gap', undefined])
  })
})
