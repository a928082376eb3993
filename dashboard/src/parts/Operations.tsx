import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { age, MISSING, plain } from '../lib/exact'
import { between, kept, quantileMs, type Reading, total } from '../lib/freshness'
import { ApiError } from '../lib/rest'
import { ACCOUNT_TYPES, type Queue, readStatus, type Status } from '../lib/status'
import { api, nowMs } from '../store'
import { TableHead } from './TableHead'

const EVERY_MS = 3000
// Freshness is of the last minutes, as far as this tab has seen them.
const SPAN_MS = 300_000

/** The operator's figures. */
export function Operations() {
  const status = useSignal<Status | null>(null)
  const readings = useSignal<Reading[]>([])
  const fault = useSignal('')
  useEffect(() => {
    let isOver = false
    let timer = 0
    const load = async (): Promise<void> => {
      try {
        const found = await readStatus(api())
        status.value = found
        readings.value = kept(readings.value, { atMs: Date.now(), ages: found.ages }, SPAN_MS)
        fault.value = ''
      } catch (error) {
        fault.value = told(error)
      }
      if (!isOver) timer = window.setTimeout(() => void load(), EVERY_MS)
    }
    void load()
    return () => {
      isOver = true
      window.clearTimeout(timer)
    }
  }, [])
  return (
    <main class="operations" tabIndex={-1}>
      {fault.value && (
        <p class="card fault" role="alert">
          {fault.value}
        </p>
      )}
      {!status.value && !fault.value && (
        <p class="card" role="status">
          Waiting for the figures …
        </p>
      )}
      {status.value && (
        <>
          <System status={status.value} />
          <Alarms alarms={status.value.alarms} />
          <Freshness status={status.value} readings={readings.value} />
          <div class="pair even">
            <Queues id="queues" title="Queues" queues={status.value.queues} />
            <DeadLetters queues={status.value.deadLetters} />
          </div>
        </>
      )}
    </main>
  )
}

function told(error: unknown): string {
  const isScope = error instanceof ApiError && error.status === 403
  return isScope ? 'These figures name other people’s portfolios: a token with the scope admin is needed.' : (error as Error).message
}

function System({ status }: { status: Status }) {
  const sweptMs = status.lastSweepAt ? nowMs.value - Date.parse(status.lastSweepAt) : null
  return (
    <section class="card" aria-labelledby="system">
      <h2 id="system">
        System <b class={`badge ${status.isRunning ? 'ok' : 'call'}`}>{status.isRunning ? 'running' : 'the sweep, due each minute, is missing'}</b>
      </h2>
      <dl class="metrics">
        <Figure name="Last sweep" text={sweptMs === null ? 'not yet' : age(sweptMs)} />
        <Figure name="Counting for" text={age(status.uptimeSeconds * 1000)} />
        {status.sums.map(([name, sum]) => (
          <Figure key={name} name={name} text={plain(sum)} />
        ))}
        <Figure name="Errors" text={plain(String(status.errors))} isTrouble={status.errors > 0} />
      </dl>
    </section>
  )
}

function Alarms({ alarms }: { alarms: Status['alarms'] }) {
  const isCalm = alarms !== null && alarms.raised.length === 0
  return (
    <section class="card" aria-labelledby="alarms">
      <h2 id="alarms">
        Alarms{' '}
        <b class={`badge ${alarms === null ? 'warning' : isCalm ? 'ok' : 'call'}`}>
          {alarms === null ? 'not known' : isCalm ? 'none raised' : `${alarms.raised.length} raised`}
        </b>
      </h2>
      <p class="hint">
        {alarms === null
          ? 'CloudWatch did not answer.'
          : `${alarms.ok} ok, ${alarms.insufficientData} without data to judge by.`}
      </p>
      {alarms !== null && (
        <ul class="alarms" aria-live="polite">
          {alarms.raised.map((alarm) => (
            <li key={alarm.name}>
              <b>{alarm.name.replace(/Alarm$/, '').replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' ')}</b>
              <span class="hint">{`for ${age(nowMs.value - Date.parse(alarm.since))}`}</span>
              <span>{alarm.description}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}

function Freshness({ status, readings }: { status: Status; readings: Reading[] }) {
  const oldest = readings.length > 1 ? readings[0] : undefined
  const spanMs = oldest ? (readings.at(-1)?.atMs ?? 0) - oldest.atMs : status.uptimeSeconds * 1000
  return (
    <section class="card" aria-labelledby="freshness">
      <h2 id="freshness">Freshness</h2>
      <p class="hint">{`From the start of a price’s window to the valuation, over ${age(Math.max(spanMs, 2000))}.`}</p>
      <div class="scroll" tabIndex={0} role="region" aria-labelledby="freshness">
        <table>
          <TableHead names={['Accounts', 'Half within', '99 % within', 'Bundles valued', 'Portfolios waiting', 'Oldest waits']} />
          <tbody>
            {ACCOUNT_TYPES.map((type) => {
              const ages = status.ages[type]
              const recent = ages && between(oldest?.ages[type], ages)
              const dirty = status.dirty[type]
              return (
                <tr key={type}>
                  <th scope="row">{type}</th>
                  <td>{recent ? within(quantileMs(recent, 0.5)) : MISSING}</td>
                  <td>{recent ? within(quantileMs(recent, 0.99)) : MISSING}</td>
                  <td>{recent ? plain(String(total(recent))) : MISSING}</td>
                  <td>{plain(String(dirty?.count ?? 0))}</td>
                  <td>{dirty?.oldestAgeMs == null ? MISSING : milliseconds(dirty.oldestAgeMs)}</td>
                </tr>
              )
            })}
          </tbody>
        </table>
      </div>
    </section>
  )
}

function within(value: number | null): string {
  if (value === null) return MISSING
  return value === Infinity ? 'over 30 s' : milliseconds(value)
}

function milliseconds(value: number): string {
  return value < 9_950 ? `${plain(String(Math.round(value / 10) * 10))} ms` : age(value)
}

function Queues({ id, title, queues }: { id: string; title: string; queues: Queue[] }) {
  return (
    <section class="card" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      <table>
        <TableHead names={['Name', 'Waiting', 'In work']} />
        <tbody>
          {queues.map(({ name, waiting, inFlight }) => (
            <tr key={name}>
              <th scope="row">{words(name)}</th>
              <td>{plain(String(waiting))}</td>
              <td>{plain(String(inFlight))}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

/** Those that are there; of the others only that there are none. */
function DeadLetters({ queues }: { queues: Queue[] }) {
  const full = queues.filter(({ waiting, inFlight }) => waiting + inFlight > 0)
  const count = full.reduce((sum, { waiting, inFlight }) => sum + waiting + inFlight, 0)
  return (
    <section class="card" aria-labelledby="dead-letters">
      <h2 id="dead-letters">
        Dead letters <b class={`badge ${count ? 'call' : 'ok'}`}>{count ? plain(String(count)) : 'none'}</b>
      </h2>
      <p class="hint">{`Of ${queues.length} queues for what was given up, ${queues.length - full.length} are empty.`}</p>
      <ul class="alarms">
        {full.map(({ name, waiting, inFlight }) => (
          <li key={name}>
            <b>{words(name)}</b>
            <span>{plain(String(waiting + inFlight))}</span>
          </li>
        ))}
      </ul>
      {count > 0 && (
        <p class="hint">
          <code>make dlq-show QUEUE={full[0]?.name}</code> tells what and why.
        </p>
      )}
    </section>
  )
}

function Figure({ name, text, isTrouble = false }: { name: string; text: string; isTrouble?: boolean }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={isTrouble ? 'fault' : ''}>{text}</dd>
    </div>
  )
}

function words(name: string): string {
  return name.replaceAll('_', ' ').replace(/^./, (first) => first.toUpperCase())
}
