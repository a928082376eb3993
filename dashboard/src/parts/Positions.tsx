import { useSignal } from '@preact/signals'
import { money, plain, share, signOf } from '../lib/exact'
import type { PortfolioState, Position } from '../lib/state'
import { Changing } from './Changing'
import { TableHead } from './TableHead'

const FIRST_SHOWN = 100

export function Positions({ state }: { state: PortfolioState }) {
  const isAll = useSignal(false)
  const ordered = [...state.positions].sort((one, other) => size(other) - size(one))
  const listed = isAll.value ? ordered : ordered.slice(0, FIRST_SHOWN)
  return (
    <section class="card" aria-labelledby="positions">
      <h3 id="positions">Positions</h3>
      <div class="scroll" tabIndex={0} role="region" aria-labelledby="positions">
        <table>
          <TableHead names={['Instrument', 'Quantity', 'Average', 'Mark', `Value ${state.base_currency}`, 'Weight', 'Daily P&L', 'Unrealized']} />
          <tbody>
            {listed.map((position) => (
              <Row key={position.instrument_id} position={position} state={state} />
            ))}
          </tbody>
        </table>
      </div>
      {ordered.length > listed.length && (
        <button type="button" class="quiet" onClick={() => (isAll.value = true)}>{`Show all ${ordered.length}`}</button>
      )}
    </section>
  )
}

function size(position: Position): number {
  return Math.abs(Number(position.weight ?? 0))
}

function Row({ position, state }: { position: Position; state: PortfolioState }) {
  const name = position.instrument_id
  const mark = state.unpriced.includes(name) ? 'no price' : state.stale.includes(name) ? 'stale' : ''
  return (
    <tr class={mark ? 'doubtful' : ''}>
      <th scope="row">
        {name}
        {position.position_type === 'SHORT' && <span class="kind">short</span>}
        {mark && <b class="badge warning">{mark}</b>}
      </th>
      <td>{plain(position.quantity, 6, position.position_type === 'CASH' ? 2 : 0)}</td>
      <td>{plain(position.average_price, 6, 2)}</td>
      <td>
        <Changing amount={position.mark} text={plain(position.mark, 6, 2)} />
        {position.mark !== null && position.currency !== state.base_currency && <small>{` ${position.currency}`}</small>}
      </td>
      <td>
        <Changing amount={position.market_value} text={money(position.market_value)} />
      </td>
      <td>{share(position.weight)}</td>
      <td class={`sign${signOf(position.daily_pnl)}`}>{money(position.daily_pnl, true)}</td>
      <td class={`sign${signOf(position.unrealized_pnl)}`}>{money(position.unrealized_pnl, true)}</td>
    </tr>
  )
}
