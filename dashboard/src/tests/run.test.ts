import { expect, it, vi } from 'vitest'

vi.stubGlobal('sessionStorage', { getItem: () => null, setItem: () => undefined, removeItem: () => undefined })
const { advanced } = await import('../store')

const started = (runId: string, ticker: string) => ({
  type: 'analysis_started',
  run_id: runId,
  ticker,
  portfolio_id: 'p',
  metrics: ['momentum', 'correlation'],
})
const result = (runId: string, metric: string, value: string | null, reason?: string) => ({
  type: 'analysis_result',
  run_id: runId,
  metric,
  value,
  ...(reason ? { reason } : {}),
})

it('collects the results of the run that was started last', () => {
  let run = advanced(null, started('1', 'AAPL'))
  run = advanced(run, result('1', 'momentum', '0.5'))
  run = advanced(run, started('2', 'MSFT'))
  run = advanced(run, result('1', 'correlation', '0.9'))
  run = advanced(run, result('2', 'correlation', null, 'too few days'))
  run = advanced(run, { type: 'analysis_cancelled', run_id: '1', superseded_by: '2' })
  expect(run?.results).toEqual({ correlation: { value: null, reason: 'too few days' } })
  expect([run?.ticker, run?.state]).toEqual(['MSFT', 'running'])
  expect(advanced(run, { type: 'analysis_completed', run_id: '2' })?.state).toBe('completed')
  expect(advanced(run, { type: 'analysis_cancelled', run_id: '2' })?.state).toBe('cancelled')
  expect(advanced(run, { type: 'analysis_failed', run_id: '2', reason: 'no history' })?.note).toBe('no history')
})
