// The REST API, below the page's own address: `api/...` is passed on by whoever serves the page.

import { parseExactly } from './exact'

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

/** Calls as the owner of a token. */
export class Rest {
  constructor(
    readonly token: string,
    private readonly base: string = new URL('.', document.baseURI).href,
  ) {}

  /** The decoded answer; `ApiError` when it is not 2xx, status 0 when nothing answered. */
  async call<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.token}` }
    if (body !== undefined) headers['Content-Type'] = 'application/json'
    let response: Response
    let text: string
    try {
      const request: RequestInit = { method, headers, cache: 'no-store', signal: AbortSignal.timeout(15_000) }
      if (body !== undefined) request.body = JSON.stringify(body)
      response = await fetch(new URL(path, this.base), request)
      text = await response.text()
    } catch {
      throw new ApiError(0, 'NO_ANSWER', 'The server does not answer.')
    }
    const answer = decoded(text)
    if (response.ok) return answer as Answer
    const error = (answer as { error?: { code?: string; message?: string } } | null)?.error
    throw new ApiError(response.status, error?.code ?? '', error?.message ?? `The server answered ${response.status}.`)
  }
}

function decoded(text: string): unknown {
  try {
    return text ? parseExactly(text) : null
  } catch {
    return null
  }
}

/** What is known of the deployment beside the page: where its WebSocket is. */
export async function config(): Promise<{ ws_url: string }> {
  try {
    const response = await fetch(new URL('config.json', document.baseURI), { cache: 'no-store' })
    if (response.ok) return (await response.json()) as { ws_url: string }
  } catch {
    // Told below: no answer and no such file are the same to the visitor.
  }
  throw new ApiError(0, 'NO_CONFIG', 'It is not known where the WebSocket is: config.json is missing beside this page.')
}

export interface Summary {
  portfolio_id: string
  portfolio_name: string
  account_type: string
  account_kind: string
  base_currency: string
  status: string
}

/** All portfolios of the caller, page by page, at most `limit`. */
export async function portfolios(rest: Rest, limit: number): Promise<Summary[]> {
  const found: Summary[] = []
  let cursor: string | null = null
  do {
    const query: string = cursor ? `?cursor=${encodeURIComponent(cursor)}` : ''
    const page: { portfolios: Summary[]; cursor: string | null } = await rest.call('GET', `api/v1/portfolios${query}`)
    found.push(...page.portfolios)
    cursor = page.cursor
  } while (cursor && found.length < limit)
  return found.slice(0, limit)
}
