import { effect, useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { money, toNumber } from '../lib/exact'
import { api, entry, notify, type Point, pointsOf } from '../store'

type Range = 'live' | 'days'
const HEIGHT_PX = 220
// Around a value that is the only one yet.
const ALONE_S = 30
const DRAW_EVERY_MS = 250
const FONT = '12px system-ui, sans-serif'

interface Day {
  date: string
  total_value: string
}

/** The total since the page was opened, or the daily closes of the last year. */
export function ValueChart({ portfolioId, currency }: { portfolioId: string; currency: string }) {
  const range = useSignal<Range>('live')
  const days = useSignal<Point[]>([])
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (range.value === 'days') void closes(portfolioId).then((found) => (days.value = found))
  }, [range.value, portfolioId])
  useEffect(() => {
    const element = place.current
    if (!element) return
    const chart = new uPlot(options(element), [[], []], element)
    let timer: number | undefined
    const draw = (): void => {
      timer = undefined
      chart.setData(data(range.value === 'live' ? pointsOf(portfolioId).peek() : days.peek()))
    }
    const stop = effect(() => {
      void [range.value, pointsOf(portfolioId).value, days.value]
      timer ??= window.setTimeout(draw, DRAW_EVERY_MS)
    })
    draw()
    const resized = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HEIGHT_PX }))
    resized.observe(element)
    return () => {
      stop()
      window.clearTimeout(timer)
      resized.disconnect()
      chart.destroy()
    }
  }, [portfolioId])
  const line = range.value === 'live' ? pointsOf(portfolioId).value : days.value
  const values = line.map((point) => point.value)
  return (
    <section class="card chart" aria-labelledby="value">
      <h3 id="value">{`Value in ${currency}`}</h3>
      {entry.value === 'token' && (
        <div class="choice" role="group" aria-label="Time range">
          {(['live', 'days'] as const).map((name) => (
            <button key={name} type="button" aria-pressed={range.value === name} onClick={() => (range.value = name)}>
              {name === 'live' ? 'Live' : 'Days'}
            </button>
          ))}
        </div>
      )}
      <div
        ref={place}
        role="img"
        aria-label={
          values.length
            ? `${values.length} values from ${money(String(Math.min(...values)))} to ${money(String(Math.max(...values)))} ${currency}`
            : 'No values yet'
        }
      />
      {!values.length && <p class="hint">{range.value === 'live' ? 'Waiting for the first value.' : 'No day was closed yet.'}</p>}
    </section>
  )
}

async function closes(portfolioId: string): Promise<Point[]> {
  try {
    const answer = await api().call<{ days: Day[] }>('GET', `api/v1/portfolio/${encodeURIComponent(portfolioId)}/history`)
    return answer.days.map((day) => ({ atMs: Date.parse(day.date), value: toNumber(day.total_value) ?? 0 }))
  } catch (fault) {
    notify('HISTORY', (fault as Error).message)
    return []
  }
}

function data(line: Point[]): uPlot.AlignedData {
  return [line.map((point) => point.atMs / 1000), line.map((point) => point.value)]
}

/** Days as `21 Nov`, times as `19:18`, with seconds where the marks are closer than a minute. */
function times(_chart: uPlot, marks: number[]): string[] {
  const step = (marks[1] ?? 0) - (marks[0] ?? 0)
  const form: Intl.DateTimeFormatOptions =
    step >= 86_400
      ? { day: 'numeric', month: 'short' }
      : { hour: '2-digit', minute: '2-digit', ...(step < 60 && { second: '2-digit' }) }
  const format = new Intl.DateTimeFormat('en-GB', form)
  return marks.map((mark) => format.format(mark * 1000))
}

function options(element: HTMLElement): uPlot.Options {
  const colour = (name: string) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
  const axis = { stroke: colour('--muted'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: FONT }
  return {
    width: element.clientWidth || 300,
    height: HEIGHT_PX,
    cursor: { y: false },
    legend: { show: false },
    padding: [8, 28, 0, 0],
    axes: [{ ...axis, size: 30, space: 80, values: times }, { ...axis, size: 84, values: (_chart, ticks) => ticks.map((tick) => tick.toLocaleString('en-US')) }],
    scales: { x: { range: (_chart, from, to) => (from === to ? [from - ALONE_S, to + ALONE_S] : [from, to]) } },
    series: [
      {},
      {
        stroke: colour('--accent'),
        fill: colour('--accent-soft'),
        width: 2,
        points: { show: (_chart, _series, from, to) => from === to },
      },
    ],
  }
}
