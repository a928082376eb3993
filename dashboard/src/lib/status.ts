// How the system is, as `GET /api/market/portfolio/status` answers it to a token with the scope admin.

import type { Amount } from './exact'
import type { Ages } from './freshness'
import type { Rest } from './rest'

export const ACCOUNT_TYPES = ['live', 'demo', 'paper'] as const

export interface Queue {
  name: string
  waiting: number
  inFlight: number
}

export interface Alarm {
  name: string
  since: string
  description: string
}

export interface Status {
  isRunning: boolean
  lastSweepAt: string | null
  uptimeSeconds: number
  sums: [string, Amount][]
  errors: number
  dirty: Record<string, { count: number; oldestAgeMs: number | null }>
  ages: Record<string, Ages>
  queues: Queue[]
  deadLetters: Queue[]
  alarms: { ok: number; insufficientData: number; raised: Alarm[] } | null
}

interface Answer {
  is_running: boolean
  last_sweep_at: string | null
  uptime_seconds: Amount
  symbols_processed: Amount
  users_affected_total: Amount
  portfolios_valued: Amount
  dirty_users_live: Amount
  dirty_users_demo: Amount
  dirty_users_paper: Amount
  errors: Amount
  freshness: Record<string, { bounds_ms: Amount[]; counts: Amount[] }>
  queues: Record<string, { waiting: Amount; in_flight: Amount; oldest_age_ms: Amount | null }>
  alarms: { ok: Amount; insufficient_data: Amount; raised: Alarm[] } | null
}

/** Ask for it. */
export async function readStatus(rest: Rest): Promise<Status> {
  const answer = await rest.call<Answer>('GET', 'api/market/portfolio/status')
  const queues = Object.entries(answer.queues).map(([name, queue]) => ({
    name,
    waiting: Number(queue.waiting),
    inFlight: Number(queue.in_flight),
  }))
  return {
    isRunning: answer.is_running,
    lastSweepAt: answer.last_sweep_at,
    uptimeSeconds: Number(answer.uptime_seconds),
    sums: [
      ['Prices taken', answer.symbols_processed],
      ['Portfolios marked', answer.users_affected_total],
      ['Portfolios valued', answer.portfolios_valued],
    ],
    errors: Number(answer.errors),
    dirty: Object.fromEntries(
      ACCOUNT_TYPES.map((type) => {
        const age = answer.queues[type]?.oldest_age_ms ?? null
        return [type, { count: Number(answer[`dirty_users_${type}`]), oldestAgeMs: age === null ? null : Number(age) }]
      }),
    ),
    ages: Object.fromEntries(
      Object.entries(answer.freshness).map(([type, { bounds_ms: bounds, counts }]) => [
        type,
        { boundsMs: bounds.map(Number), counts: counts.map(Number) },
      ]),
    ),
    queues: queues.filter(({ name }) => !name.endsWith('_dead')),
    deadLetters: queues
      .filter(({ name }) => name.endsWith('_dead'))
      .map((queue) => ({ ...queue, name: queue.name.replace(/_dead$/, '') })),
    alarms: answer.alarms && {
      ok: Number(answer.alarms.ok),
      insufficientData: Number(answer.alarms.insufficient_data),
      raised: answer.alarms.raised,
    },
  }
}
