// Everything the page knows, as signals; the parts only read them and call the functions below.

import { batch, computed, signal, type Signal } from '@preact/signals'
import { type Amount, toNumber } from './lib/exact'
import { Live, type LinkState, type Message } from './lib/live'
import { ASK_AGAIN_MS, ASKED_MAX, Questions } from './lib/questions'
import { ApiError, config, portfolios, Rest, type Summary } from './lib/rest'
import { applied, type PortfolioState, type Shown, type Update } from './lib/state'

/** A connection watches at most this many portfolios (the server's limit); the list shows the rest without figures. */
export const MAX_WATCHED = 50
const MAX_LISTED = 500
const MAX_EVENTS = 200
// A quarter of an hour at the least, at two points each half second however often the total moves.
const MAX_POINTS = 3600
const POINT_EVERY_MS = 500
const MAX_WAITING_MESSAGES = 5000
// Nobody reads figures that change more often.
const APPLY_EVERY_MS = 50
const TOKEN_KEY = 'foliostream.token'
const SESSION_KEY = 'foliostream.session'
// Between two `resume` messages, so that a page of many portfolios stays below the server's limit of actions a second.
const RESUME_EVERY_MS = 150
// Of what must have been lost, in a second.
const ASKED_AGAIN_AT_ONCE = 5

export interface Point {
  atMs: number
  value: number
}

export interface Happening {
  eventId: string
  type: string
  portfolioId: string
  timestamp: string
  content: Record<string, unknown>
}

export interface Result {
  value: Amount | null
  reason: string | null
}

export interface Run {
  runId: string
  ticker: string
  portfolioId: string
  metrics: string[]
  results: Record<string, Result>
  state: 'asked' | 'running' | 'completed' | 'cancelled' | 'failed'
  note: string
}

/** A portfolio in the list; of a ticket's, no more than the id is known until its snapshot came. */
export type Listed = Pick<Summary, 'portfolio_id' | 'portfolio_name'> & Partial<Summary>

export interface Notice {
  id: number
  text: string
  code: string
}

/** How the visitor came in: a token may ask for everything, a ticket opens one connection and nothing else. */
export type Entry = 'none' | 'token' | 'ticket'

export const entry = signal<Entry>('none')
export const isEntering = signal(false)
export const signInFault = signal('')
export const linkState = signal<LinkState>('closed')
export const retryAtMs = signal<number | null>(null)
export const summaries = signal<Listed[]>([])
export const selectedId = signal<string | null>(null)
export const happenings = signal<Happening[]>([])
export const run = signal<Run | null>(null)
export const notices = signal<Notice[]>([])
export const resyncs = signal(0)
export const nowMs = signal(Date.now())

const shown = new Map<string, Signal<Shown | undefined>>()
// Portfolios of which something is missing.
const gaps = new Set<string>()
const questions = new Questions()
let toldAtMs = 0
// What was known when the connection was lost, until `resumed` answers it: snapshots come before that without events.
const since = new Map<string, number>()
const points = new Map<string, Signal<Point[]>>()
let live: Live | null = null
let rest: Rest | null = null
let noticeCount = 0
let waiting: Message[] = []
let frame = 0
let timer: number | undefined
let appliedAtMs = 0

/** What is shown of a portfolio; undefined until its snapshot came. */
export function shownOf(portfolioId: string): Signal<Shown | undefined> {
  return kept(shown, portfolioId, undefined)
}

/** The totals seen since the page was opened, oldest first. */
export function pointsOf(portfolioId: string): Signal<Point[]> {
  return kept(points, portfolioId, [])
}

export const selected = computed(() => (selectedId.value ? shownOf(selectedId.value).value : undefined))

function kept<Value>(where: Map<string, Signal<Value>>, key: string, first: Value): Signal<Value> {
  let found = where.get(key)
  if (!found) where.set(key, (found = signal(first)))
  return found
}

/** The API as the caller; only while signed in. */
export function api(): Rest {
  if (!rest) throw new ApiError(401, 'UNAUTHORIZED', 'This needs a token; a ticket opens the connection only.')
  return rest
}

/** Take a token, list the caller's portfolios and connect. The fault stands in `signInFault`. */
export async function signIn(given: string): Promise<void> {
  const caller = new Rest(given.trim().replace(/^Bearer\s+/i, ''))
  await enter('token', async () => {
    const found = await portfolios(caller, MAX_LISTED)
    rest = caller
    sessionStorage.setItem(TOKEN_KEY, caller.token)
    connect(addressByToken)
    return found
  })
}

/** Watch portfolios over the one connection that a ticket opens; for who has the token elsewhere. */
export async function enterWithTicket(ticket: string, portfolioIds: string[]): Promise<void> {
  await enter('ticket', async () => {
    const { ws_url: url } = await config()
    connect(addressByTicket(url, ticket))
    return portfolioIds.slice(0, MAX_WATCHED).map((portfolio_id) => ({ portfolio_id, portfolio_name: portfolio_id }))
  })
}

async function enter(by: Entry, open: () => Promise<Listed[]>): Promise<void> {
  signInFault.value = ''
  isEntering.value = true
  try {
    const found = await open()
    batch(() => {
      entry.value = by
      summaries.value = [...found].sort((one, other) => one.portfolio_name.localeCompare(other.portfolio_name))
      const asked = new URLSearchParams(location.hash.slice(1)).get('portfolio')
      const shownFirst = found.find((one) => one.portfolio_id === asked) ?? summaries.value[0]
      selectedId.value = shownFirst?.portfolio_id ?? null
    })
  } catch (fault) {
    leave(fault instanceof Error ? fault.message : String(fault))
  } finally {
    isEntering.value = false
  }
}

/** Forget the token and everything shown. */
export function signOut(): void {
  leave('')
  history.replaceState(null, '', location.pathname + location.search)
}

function leave(why: string): void {
  live?.close()
  live = null
  rest = null
  waiting = []
  gaps.clear()
  since.clear()
  questions.clear()
  sessionStorage.removeItem(TOKEN_KEY)
  sessionStorage.removeItem(SESSION_KEY)
  batch(() => {
    entry.value = 'none'
    signInFault.value = why
    summaries.value = []
    selectedId.value = null
    happenings.value = []
    run.value = null
    notices.value = []
    resyncs.value = 0
    for (const one of shown.values()) one.value = undefined
    for (const one of points.values()) one.value = []
  })
}

export function select(portfolioId: string): void {
  selectedId.value = portfolioId
  history.replaceState(null, '', `#portfolio=${encodeURIComponent(portfolioId)}`)
  if (!watched().includes(portfolioId)) watch(portfolioId)
}

/** Ask for an analysis of a ticker of the selected portfolio; one that runs is cancelled by the server. */
export function analyze(ticker: string): void {
  const portfolioId = selectedId.value
  if (!portfolioId) return
  const isSent = live?.send({ action: 'analyze', ticker, portfolio_id: portfolioId, request_id: `analyze:${ticker}` })
  if (!isSent) return notify('NOT_CONNECTED', 'Not connected: the analysis was not asked for.')
  run.value = { runId: '', ticker, portfolioId, metrics: [], results: {}, state: 'asked', note: '' }
}

export function cancelAnalysis(): void {
  live?.send({ action: 'cancel' })
}

/** Have the selected portfolio valued now. */
export function refresh(): void {
  if (selectedId.value) live?.send({ action: 'refresh', portfolio_id: selectedId.value })
}

export function reconnectNow(): void {
  live?.soon()
}

export function dismiss(id: number): void {
  notices.value = notices.value.filter((notice) => notice.id !== id)
}

export function notify(code: string, text: string): void {
  noticeCount += 1
  notices.value = [...notices.value.slice(-3), { id: noticeCount, code, text }]
}

function watched(): string[] {
  const first = summaries.value.slice(0, MAX_WATCHED).map((one) => one.portfolio_id)
  const chosen = selectedId.value
  return !chosen || first.includes(chosen) ? first : [...first.slice(0, MAX_WATCHED - 1), chosen]
}

function watch(portfolioId: string): void {
  const dropped = summaries.value[MAX_WATCHED - 1]
  if (dropped) live?.send({ action: 'unsubscribe', portfolio_ids: [dropped.portfolio_id] })
  begin([portfolioId])
}

function connect(address: () => Promise<string>): void {
  live?.close()
  live = new Live({
    address,
    opened: subscribe,
    received: enqueue,
    changed: (state, at) => batch(() => ((linkState.value = state), (retryAtMs.value = at))),
    isFinal: (fault) => {
      const isRefused = fault instanceof ApiError && (fault.status === 401 || fault.status === 403)
      if (isRefused) leave(rest ? 'The token is no longer accepted. Sign in again.' : fault.message)
      return isRefused
    },
  })
}

async function addressByToken(): Promise<string> {
  const { ticket, url } = await api().call<{ ticket: string; url: string }>('POST', 'api/v1/ws-ticket')
  return withTicket(url, ticket)
}

function addressByTicket(url: string, ticket: string): () => Promise<string> {
  let isUsed = false
  return async () => {
    if (isUsed) throw new ApiError(401, 'TICKET_USED', 'The ticket was refused, or its connection is over. Another one is needed.')
    isUsed = true
    return withTicket(url, ticket)
  }
}

function withTicket(url: string, ticket: string): string {
  const target = new URL(url)
  target.searchParams.set('ticket', ticket)
  target.searchParams.set('session_id', sessionId())
  return target.href
}

function sessionId(): string {
  const known = sessionStorage.getItem(SESSION_KEY)
  if (known) return known
  const made = crypto.randomUUID()
  sessionStorage.setItem(SESSION_KEY, made)
  return made
}

/** Snapshots of everything come with `subscribe`; `resume` also brings the events missed while away. */
function subscribe(): void {
  gaps.clear()
  questions.clear()
  const ids = watched()
  if (!ids.length) return
  const known = ids.filter((id) => shownOf(id).value)
  for (const id of known) since.set(id, since.get(id) ?? shownOf(id).value!.version)
  const fresh = ids.filter((id) => !shownOf(id).value)
  if (fresh.length) begin(fresh)
  known.forEach((id, index) => setTimeout(() => resume(id), index * RESUME_EVERY_MS))
}

function begin(portfolioIds: string[]): void {
  ask(`subscribe:${portfolioIds[0]}`, { action: 'subscribe', portfolio_ids: portfolioIds })
}

function resume(portfolioId: string): void {
  const last = shownOf(portfolioId).value
  const lastVersion = since.get(portfolioId) ?? last?.version
  if (last) ask(`resume:${portfolioId}`, { action: 'resume', portfolio_id: portfolioId, last_version: lastVersion })
}

/** Ask, unless the answer to the same is still to come. */
function ask(requestId: string, message: object): void {
  if (!questions.has(requestId)) put(requestId, message)
}

function put(requestId: string, message: object): void {
  if (live?.send({ ...message, request_id: requestId })) questions.asked(requestId, message, Date.now())
}

/** What must have been lost is asked again, and after some times on another connection. */
function askAgain(): void {
  if (linkState.value !== 'open') return
  const lost = questions.lost(Date.now())
  // As long as events come, a long answer may be on its way: another connection would begin it anew.
  const isSilent = Date.now() - toldAtMs >= ASK_AGAIN_MS
  if (isSilent && lost.some(([, question]) => question.times >= ASKED_MAX)) {
    questions.clear()
    live?.anew()
  } else for (const [requestId, { message }] of lost.slice(0, ASKED_AGAIN_AT_ONCE)) put(requestId, message)
}

/** Messages are applied together, so that very many a second cost few drawings. A hidden page draws nothing. */
function enqueue(message: Message): void {
  waiting.push(message)
  if (document.hidden || waiting.length >= MAX_WAITING_MESSAGES) applyWaiting()
  else timer ??= window.setTimeout(() => (frame = requestAnimationFrame(applyWaiting)), Math.max(0, appliedAtMs + APPLY_EVERY_MS - performance.now()))
}

function applyWaiting(): void {
  window.clearTimeout(timer)
  cancelAnimationFrame(frame)
  timer = undefined
  appliedAtMs = performance.now()
  const messages = waiting
  waiting = []
  batch(() => messages.forEach(apply))
}

function apply(message: Message): void {
  switch (message.type) {
    case 'snapshot':
      return takeSnapshot(message)
    case 'portfolio_update':
      return (message.updates as Update[]).forEach(takeUpdate)
    case 'resumed':
      since.delete(String(message.portfolio_id))
      return questions.answered(message.request_id)
    case 'subscribed':
      return questions.answered(message.request_id)
    case 'resync_required':
      if (!gaps.has(String(message.portfolio_id))) resyncs.value += 1
      return
    case 'margin_call':
    case 'margin_restored':
    case 'margin_unknown':
    case 'stop_out':
    case 'fill':
    case 'reconciliation':
      return takeHappening(message)
    case 'analysis_started':
    case 'analysis_result':
    case 'analysis_completed':
    case 'analysis_cancelled':
    case 'analysis_failed':
      run.value = advanced(run.value, message)
      return
    case 'error':
      // A copied tab has the same session; whoever lost it goes on with one of its own.
      if (message.code === 'SESSION_TAKEN_OVER') return sessionStorage.removeItem(SESSION_KEY)
      if (!message.retryable) questions.answered(message.request_id)
      if (run.value?.state === 'asked' && message.request_id === `analyze:${run.value.ticker}`) run.value = null
      return notify(String(message.code), String(message.message))
  }
}

function takeSnapshot(message: Message): void {
  const portfolioId = String(message.portfolio_id)
  const version = Number(message.version)
  const before = shownOf(portfolioId).value
  gaps.delete(portfolioId)
  if (before && version < before.version) return
  const state = message.data as PortfolioState
  if (entry.value === 'ticket' && !before) introduce(state)
  show(portfolioId, { version, state: { ...state, positions: state.positions ?? [] }, arrivedAtMs: Date.now() })
  if (state.truncated) void completeBySeparateCall(portfolioId)
}

function introduce(state: PortfolioState): void {
  summaries.value = summaries.value.map((one) => (one.portfolio_id === state.portfolio_id ? { ...one, ...state } : one))
}

/** A portfolio too large for a message comes without its positions and says where they are. */
async function completeBySeparateCall(portfolioId: string): Promise<void> {
  try {
    const state = await api().call<PortfolioState & { version: string }>(
      'GET',
      `api/v1/portfolio/${encodeURIComponent(portfolioId)}/state`,
    )
    const before = shownOf(portfolioId).value
    if (before && Number(state.version) >= before.version)
      show(portfolioId, { version: Number(state.version), state, arrivedAtMs: Date.now() })
  } catch (fault) {
    notify('POSITIONS_MISSING', `The positions of ${portfolioId} could not be read: ${(fault as Error).message}`)
  }
}

function takeUpdate(update: Update): void {
  const [outcome, after] = applied(shownOf(update.portfolio_id).value, update, Date.now())
  if (outcome === 'applied' && after) {
    gaps.delete(update.portfolio_id)
    show(update.portfolio_id, after)
    if (update.data.truncated) void completeBySeparateCall(update.portfolio_id)
  }
  if (outcome === 'gap') fill(update.portfolio_id)
}

/** Ask for what is missing; what else comes until that is answered does not fit either. */
function fill(portfolioId: string): void {
  if (!gaps.has(portfolioId)) resyncs.value += 1
  gaps.add(portfolioId)
  if (shownOf(portfolioId).value) resume(portfolioId)
  else begin([portfolioId])
}

function show(portfolioId: string, next: Shown): void {
  shownOf(portfolioId).value = next
  const value = toNumber(next.state.total_value)
  if (value === null) return
  const line = pointsOf(portfolioId)
  line.value = extended(line.value, { atMs: next.arrivedAtMs, value })
}

/** The line with a point more; it takes the last one's place where three would be within half a second. */
export function extended(line: Point[], point: Point): Point[] {
  const lastButOne = line.at(-2)
  const isClose = lastButOne !== undefined && point.atMs - lastButOne.atMs < POINT_EVERY_MS
  return [...(isClose ? line.slice(0, -1) : line), point].slice(-MAX_POINTS)
}

function takeHappening(message: Message): void {
  const { type, timestamp, event_id: eventId, portfolio_id: portfolioId, ...content } = message
  toldAtMs = Date.now()
  // A repeat after a reconnect has the same id.
  if (happenings.value.some((known) => known.eventId === eventId)) return
  const one = { eventId: String(eventId), type, portfolioId: String(portfolioId), timestamp: String(timestamp), content }
  happenings.value = [one, ...happenings.value].slice(0, MAX_EVENTS)
}

/** The run after a message; messages of a run that was replaced change nothing. */
export function advanced(current: Run | null, message: Message): Run | null {
  if (message.type === 'analysis_started')
    return {
      runId: String(message.run_id),
      ticker: String(message.ticker),
      portfolioId: String(message.portfolio_id ?? current?.portfolioId ?? ''),
      metrics: message.metrics as string[],
      results: {},
      state: 'running',
      note: '',
    }
  if (!current || message.run_id !== current.runId) return current
  switch (message.type) {
    case 'analysis_result': {
      const { metric, value, reason } = message as Message & { metric: string; value: Amount | null; reason?: string }
      return { ...current, results: { ...current.results, [metric]: { value, reason: reason ?? null } } }
    }
    case 'analysis_completed':
      return { ...current, state: 'completed' }
    case 'analysis_cancelled':
      return { ...current, state: 'cancelled' }
    default:
      return { ...current, state: 'failed', note: String(message.reason ?? message.message ?? '') }
  }
}

/** What stands in the address (`#token=...` or `#ticket=...&portfolio=...`) signs in and is taken out of the address. */
export function start(): void {
  setInterval(() => {
    nowMs.value = Date.now()
    askAgain()
  }, 1000)
  const asked = new URLSearchParams(location.hash.slice(1))
  const [given, ticket] = [asked.get('token'), asked.get('ticket')]
  asked.delete('token')
  asked.delete('ticket')
  if (given || ticket) history.replaceState(null, '', `${location.pathname}${location.search}${asked.size ? `#${asked}` : ''}`)
  const known = given ?? sessionStorage.getItem(TOKEN_KEY)
  if (ticket) void enterWithTicket(ticket, idsIn(asked.get('portfolio') ?? ''))
  else if (known) void signIn(known)
}

/** Portfolio ids as a visitor writes them: between commas or spaces. */
export function idsIn(text: string): string[] {
  return [...new Set(text.split(/[\s,]+/).filter(Boolean))]
}
