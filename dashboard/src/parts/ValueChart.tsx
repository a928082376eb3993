import { effect, useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import { money, toNumber } from '../lib/exact'
import { api, notify, type Point, pointsOf } from '../store'

type Range = 'live' | 'days'
const HEIGHT_PX = 220

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
    const stop = effect(() => chart.setData(data(range.value === 'live' ? pointsOf(portfolioId).value : days.value)))
    const resized = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HEIGHT_PX }))
    resized.observe(element)
    return () => {
      stop()
      resized.disconnect()
      chart.destroy()
    }
  }, [portfolioId])
  const line = range.value === 'live' ? pointsOf(portfolioId).value : days.value
  const values = line.map((point) => point.value)
  return (
    <section class="card chart" aria-labelledby="value">
      <h3 id="value">{`Value in ${currency}`}</h3>
      <div class="choice" role="group" aria-label="Time range">
        {(['live', 'days'] as const).map((name) => (
          <button key={name} type="button" aria-pressed={range.value === name} onClick={() => (range.value = name)}>
            {name === 'live' ? 'Live' : 'Days'}
          </button>
        ))}
      </div>
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

function options(element: HTMLElement): uPlot.Options {
  const colour = (name: string) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
  const axis = { stroke: colour('--muted'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } }
  return {
    width: element.clientWidth || 300,
    height: HEIGHT_PX,
    cursor: { y: false },
    legend: { show: false },
    padding: [8, 8, 0, 0],
    axes: [axis, { ...axis, size: 84, values: (_chart, ticks) => ticks.map((tick) => tick.toLocaleString('en-US')) }],
    series: [{}, { stroke: colour('--accent'), fill: colour('--accent-soft'), width: 2, points: { show: false } }],
  }
}
