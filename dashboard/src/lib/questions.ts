// What was asked of the server and is not answered yet; a function that dies may take an answer with it.

// What is not answered by then was lost: until a message is taken up again whose function died, 35 seconds pass.
export const ASK_AGAIN_MS = 40_000
// After so many times without an answer it is the connection that is no good.
export const ASKED_MAX = 3

export interface Question {
  message: object
  askedAtMs: number
  times: number
}

/** Questions of one connection by their `request_id`, the oldest first. */
export class Questions {
  private readonly unanswered = new Map<string, Question>()

  has(requestId: string): boolean {
    return this.unanswered.has(requestId)
  }

  /** Note that this was asked, for the first time or again. */
  asked(requestId: string, message: object, nowMs: number): void {
    const times = (this.unanswered.get(requestId)?.times ?? 0) + 1
    this.unanswered.delete(requestId)
    this.unanswered.set(requestId, { message, askedAtMs: nowMs, times })
  }

  answered(requestId: unknown): void {
    this.unanswered.delete(String(requestId))
  }

  clear(): void {
    this.unanswered.clear()
  }

  /** What must have been lost. */
  lost(nowMs: number): [string, Question][] {
    return [...this.unanswered].filter(([, one]) => nowMs - one.askedAtMs >= ASK_AGAIN_MS)
  }
}
