import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { age, plain } from '../lib/exact'
import { ApiError } from '../lib/rest'
import { api } from '../store'

const EVERY_MS = 3000

type Status = Record<string, unknown>

/** The operator's figures, as `GET /api/market/portfolio/status` answers them. */
export function Operations() {
  const status = useSignal<Status | null>(null)
  const fault = useSignal('')
  useEffect(() => {
    let isOver = false
    const load = async (): Promise<void> => {
      try {
        status.value = await api().call<Status>('GET', 'api/market/portfolio/status')
        fault.value = ''
      } catch (error) {
        const isScope = error instanceof ApiError && error.status === 403
        fault.value = isScope ? 'These figures name other people’s portfolios: a token with the scope admin is needed.' : (error as Error).message
      }
      if (!isOver) timer = window.setTimeout(() => void load(), EVERY_MS)
    }
    let timer = 0
    void load()
    return () => {
      isOver = true
      window.clearTimeout(timer)
    }
  }, [])
  return (
    <main class="operations">
      {fault.value && (
        <p class="card fault" role="alert">
          {fault.value}
        </p>
      )}
      {status.value && <Figures status={status.value} />}
    </main>
  )
}

function Figures({ status }: { status: Status }) {
  const scalars = Object.entries(status).filter(([, value]) => value === null || typeof value !== 'object')
  const groups = Object.entries(status).filter(([, value]) => value !== null && typeof value === 'object')
  return (
    <>
      <section class="card" aria-labelledby="system">
        <h2 id="system">System</h2>
        <dl class="metrics">
          {scalars.map(([name, value]) => (
            <div key={name}>
              <dt>{words(name)}</dt>
              <dd>{scalar(name, value)}</dd>
            </div>
          ))}
        </dl>
      </section>
      {groups.map(([name, value]) => (
        <Group key={name} name={name} value={value as Record<string, unknown>} />
      ))}
    </>
  )
}

function Group({ name, value }: { name: string; value: Record<string, unknown> }) {
  const rows = Object.entries(value)
  const columns = [...new Set(rows.flatMap(([, row]) => (row !== null && typeof row === 'object' ? Object.keys(row) : [])))]
  return (
    <section class="card" aria-labelledby={name}>
      <h2 id={name}>{words(name)}</h2>
      <div class="scroll" tabIndex={0} role="region" aria-labelledby={name}>
        <table>
          <thead>
            <tr>
              <th scope="col">Name</th>
              {(columns.length ? columns : ['value']).map((column) => (
                <th key={column} scope="col">
                  {words(column)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(([key, row]) => (
              <tr key={key} class={isTrouble(key, row) ? 'doubtful' : ''}>
                <th scope="row">{words(key)}</th>
                {columns.length ? (
                  columns.map((column) => <td key={column}>{scalar(column, (row as Record<string, unknown> | null)?.[column])}</td>)
                ) : (
                  <td>{scalar(key, row)}</td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  )
}

/** Anything in a dead-letter queue is trouble. */
function isTrouble(key: string, row: unknown): boolean {
  const depth = row !== null && typeof row === 'object' ? Object.values(row)[0] : row
  return /dead/.test(key) && Number(depth) > 0
}

function words(name: string): string {
  return name.replaceAll('_', ' ').replace(/^./, (first) => first.toUpperCase())
}

function scalar(name: string, value: unknown): string {
  if (value === null || value === undefined) return '–'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'object') return JSON.stringify(value)
  if (/_ms$/.test(name)) return age(Number(value))
  if (/_seconds$/.test(name)) return age(Number(value) * 1000)
  return /^-?\d/.test(String(value)) && !Number.isNaN(Number(value)) ? plain(String(value), 3) : String(value)
}
