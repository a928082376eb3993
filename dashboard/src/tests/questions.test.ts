// Against a server that does not answer: the store with a WebSocket whose other end is the test.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ASK_AGAIN_MS, ASKED_MAX } from '../lib/questions'

type Said = Record<string, unknown>

class Socket {
  static readonly OPEN = 1
  static last: Socket
  static count = 0
  readyState = 0
  said: Said[] = []
  onopen = () => undefined as unknown
  onclose = () => undefined as unknown
  onmessage = (_: { data: string }) => undefined as unknown

  constructor() {
    Socket.last = this
    Socket.count += 1
  }

  send(text: string) {
    this.said.push(JSON.parse(text))
  }

  close() {
    this.readyState = 3
    this.onclose()
  }

  open() {
    this.readyState = 1
    this.onopen()
  }

  say(message: Said) {
    this.onmessage({ data: JSON.stringify(message) })
  }
}

const LOCATION = { hash: '#token=t&portfolio=growth', pathname: '/', search: '', href: 'http://page/' }
const ANSWERS: Record<string, unknown> = {
  'ws-ticket': { ticket: 't', url: 'ws://server/' },
  portfolios: { portfolios: ['growth', 'income'].map((id) => ({ portfolio_id: id, portfolio_name: id })), cursor: null },
}

const snapshot = (version: number, portfolioId = 'growth') => ({
  type: 'snapshot',
  portfolio_id: portfolioId,
  version,
  data: { total_value: 1, positions: [] },
})
const update = (version: number, previous: number) => ({
  type: 'portfolio_update',
  updates: [{ portfolio_id: 'growth', version, previous_version: previous, data: {} }],
})
const resume = (portfolioId: string, version: number) => ({
  action: 'resume',
  portfolio_id: portfolioId,
  last_version: version,
  request_id: `resume:${portfolioId}`,
})
const resumed = { type: 'resumed', portfolio_id: 'growth', request_id: 'resume:growth' }
const SUBSCRIBE = { action: 'subscribe', portfolio_ids: ['growth', 'income'], request_id: 'subscribe:growth' }

const passed = (ms: number) => vi.advanceTimersByTimeAsync(ms)
/** What was said since the last call, but for pings. */
const taken = () => Socket.last.said.splice(0).filter((one) => one.action !== 'ping')

async function say(...messages: Said[]) {
  messages.forEach((message) => Socket.last.say(message))
  await passed(100)
}

/** The time until the next question is nearly over, and the server is there. */
async function almost() {
  await passed(ASK_AGAIN_MS - 3000)
  await say({ type: 'pong' })
}

/** The connection is lost, and comes back. */
async function comesBack() {
  Socket.last.close()
  await passed(1000)
  Socket.last.open()
  await passed(200)
}

beforeEach(async () => {
  vi.useFakeTimers()
  vi.resetModules()
  Socket.count = 0
  vi.stubGlobal('sessionStorage', { getItem: () => 'session', setItem: () => undefined, removeItem: () => undefined })
  vi.stubGlobal('WebSocket', Socket)
  vi.stubGlobal('location', LOCATION)
  vi.stubGlobal('history', { replaceState: () => undefined })
  vi.stubGlobal('document', { hidden: false, baseURI: LOCATION.href })
  vi.stubGlobal('window', { ...globalThis, addEventListener: () => undefined })
  vi.stubGlobal('requestAnimationFrame', (draw: () => void) => setTimeout(draw, 0))
  vi.stubGlobal('cancelAnimationFrame', clearTimeout)
  vi.stubGlobal('fetch', async (url: URL | string) => {
    const found = Object.entries(ANSWERS).find(([name]) => String(url).includes(name))
    return new Response(JSON.stringify(found?.[1]), { status: 200 })
  })
  const { start } = await import('../store')
  start()
  await passed(0)
  Socket.last.open()
})

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

test('what is not answered is asked again after a time, and then on another connection', async () => {
  expect(taken()).toEqual([SUBSCRIBE])
  for (let times = 1; times < ASKED_MAX; times += 1) {
    await almost()
    expect(taken()).toEqual([])
    await passed(3000)
    expect(taken()).toEqual([SUBSCRIBE])
  }
  await almost()
  expect(Socket.count).toBe(1)
  await passed(4000)
  expect(Socket.count).toBe(2)
  Socket.last.open()
  expect(taken()).toEqual([SUBSCRIBE])
})

test('as long as events come the connection is kept', async () => {
  for (let number = 0; number < 3 * ASKED_MAX; number += 1) {
    await passed(ASK_AGAIN_MS / 2)
    await say({ type: 'fill', event_id: `fill:${number}`, portfolio_id: 'growth', timestamp: '2026-01-05T10:00:00Z' })
  }
  expect(Socket.count).toBe(1)
  await passed(2 * ASK_AGAIN_MS)
  expect(Socket.count).toBe(2)
})

test('a resume is asked again from what the page had until that is answered', async () => {
  await say(snapshot(7), snapshot(7, 'income'), { type: 'subscribed', request_id: 'subscribe:growth' })
  await comesBack()
  expect(taken()).toEqual([resume('growth', 7), resume('income', 7)])
  // Of the session, before anybody has read the `resume`; and a gap behind that, which is no other question.
  await say(snapshot(9), update(11, 10), { ...resumed, portfolio_id: 'income', request_id: 'resume:income' })
  await passed(ASK_AGAIN_MS + 2000)
  expect(taken()).toEqual([resume('growth', 7)])
  await comesBack()
  expect(taken()).toEqual([resume('growth', 7), resume('income', 7)])
  await say(resumed, update(11, 10))
  expect(taken()).toEqual([resume('growth', 9)])
})

test.each([
  { type: 'subscribed' },
  { type: 'error', code: 'PORTFOLIO_NOT_FOUND', message: 'no', retryable: false },
])('what was answered is not asked again: $type', async (answer) => {
  await say({ ...answer, request_id: 'subscribe:growth' })
  taken()
  await passed(ASK_AGAIN_MS + 2000)
  expect(taken()).toEqual([])
})

test('what may be served later is asked again later', async () => {
  taken()
  await say({ type: 'error', code: 'UNAVAILABLE', message: 'no', retryable: true, request_id: 'subscribe:growth' })
  await passed(ASK_AGAIN_MS + 2000)
  expect(taken()).toEqual([SUBSCRIBE])
})

test('while there is no connection nothing is given up', async () => {
  for (let times = 1; times < ASKED_MAX; times += 1) {
    await almost()
    await passed(3000)
  }
  await almost()
  Socket.last.close()
  await passed(10 * ASK_AGAIN_MS)
  expect(Socket.count).toBe(2)
  Socket.last.open()
  expect(taken()).toEqual([SUBSCRIBE])
})

test('very many questions are not asked again at once', async () => {
  const ids = Array.from({ length: 11 }, (_, number) => `p${number}`)
  await say(...ids.map((portfolio_id) => ({ type: 'portfolio_update', updates: [{ ...update(2, 1).updates[0], portfolio_id }] })))
  expect(taken()).toHaveLength(12)
  vi.setSystemTime(Date.now() + ASK_AGAIN_MS)
  for (const count of [5, 5, 2, 0]) {
    await passed(1000)
    expect(taken()).toHaveLength(count)
  }
})
