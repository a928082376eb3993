// One WebSocket that is opened again whenever it is lost, with a fresh ticket each time (a ticket is used once).

import { parseExactly } from './exact'

export type LinkState = 'connecting' | 'open' | 'waiting' | 'closed'

export interface Message {
  type: string
  [name: string]: unknown
}

export interface Link {
  /** The address to open, with ticket and session; asked anew for each try. */
  address: () => Promise<string>
  opened: () => void
  received: (message: Message) => void
  changed: (state: LinkState, retryAtMs: number | null) => void
  /** Whether a failure to get an address is final (the token is no longer accepted). */
  isFinal: (fault: unknown) => boolean
}

const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 30_000
const PING_EVERY_MS = 25_000
// A pong later than this, and the connection counts as lost although nobody said so.
const SILENCE_MS = 60_000

/** Keeps a connection until `close`; waits 0.5 s to 30 s between tries, with jitter so that pages do not come at once. */
export class Live {
  private socket: WebSocket | null = null
  private timer: number | undefined
  private failures = 0
  private heardAtMs = 0
  private stopped = false

  constructor(private readonly link: Link) {
    this.timer = window.setInterval(() => this.checkSilence(), PING_EVERY_MS)
    window.addEventListener('online', this.soon)
    void this.open()
  }

  /** Send if connected; whether it was. */
  send(message: object): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false
    this.socket.send(JSON.stringify(message))
    return true
  }

  /** Try at once instead of waiting. */
  readonly soon = (): void => {
    if (!this.stopped && this.socket === null) void this.open()
  }

  /** Give this connection up, and open another one. */
  anew(): void {
    this.socket?.close()
  }

  close(): void {
    this.stopped = true
    window.clearInterval(this.timer)
    window.clearTimeout(this.retry)
    window.removeEventListener('online', this.soon)
    this.socket?.close()
    this.link.changed('closed', null)
  }

  private retry: number | undefined
  private isOpening = false

  private async open(): Promise<void> {
    if (this.isOpening) return
    this.isOpening = true
    window.clearTimeout(this.retry)
    this.link.changed('connecting', null)
    try {
      const address = await this.link.address()
      if (!this.stopped) this.attach(new WebSocket(address))
    } catch (fault) {
      if (this.link.isFinal(fault)) this.close()
      else this.later()
    } finally {
      this.isOpening = false
    }
  }

  private attach(socket: WebSocket): void {
    this.socket = socket
    socket.onopen = () => {
      this.failures = 0
      this.heardAtMs = Date.now()
      this.link.changed('open', null)
      this.link.opened()
    }
    socket.onmessage = (event: MessageEvent<string>) => {
      this.heardAtMs = Date.now()
      this.link.received(parseExactly(event.data) as Message)
    }
    socket.onclose = () => {
      if (this.socket !== socket) return
      this.socket = null
      if (!this.stopped) this.later()
    }
  }

  private later(): void {
    const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.failures)
    this.failures += 1
    const waitMs = longest * (0.5 + Math.random() / 2)
    this.link.changed('waiting', Date.now() + waitMs)
    this.retry = window.setTimeout(() => void this.open(), waitMs)
  }

  private checkSilence(): void {
    if (this.socket?.readyState !== WebSocket.OPEN) return
    if (Date.now() - this.heardAtMs > SILENCE_MS) this.anew()
    else this.send({ action: 'ping' })
  }
}
