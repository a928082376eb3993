import { expect, test } from 'vitest'
import { between, kept, quantileMs, total } from '../lib/freshness'

const bounds = [200, 400, 1000]
const of = (...counts: number[]) => ({ boundsMs: bounds, counts })

test('a quantile lies within its class, as far in as its part of it', () => {
  expect(quantileMs(of(0, 10, 0, 0), 0.5)).toBe(300)
  expect(quantileMs(of(10, 10, 0, 0), 0.5)).toBe(200)
  expect(quantileMs(of(99, 0, 1, 0), 0.99)).toBe(200)
  expect(quantileMs(of(98, 0, 2, 0), 0.99)).toBe(700)
})

test('beyond all bounds it is not known how far', () => {
  expect(quantileMs(of(0, 0, 0, 3), 0.5)).toBe(Infinity)
})

test('nothing has no quantile', () => {
  expect(quantileMs(of(0, 0, 0, 0), 0.5)).toBeNull()
})

test('the difference of two readings is what happened between them', () => {
  expect(between(of(5, 1, 0, 0), of(7, 1, 0, 1)).counts).toEqual([2, 0, 0, 1])
  expect(total(between(undefined, of(7, 1, 0, 1)))).toBe(9)
})

test('where counting began anew the new counts are all there is', () => {
  expect(between(of(5, 1, 0, 0), of(1, 0, 0, 0)).counts).toEqual([1, 0, 0, 0])
})

test('readings are kept as far back as asked, and one beyond', () => {
  const at = (atMs: number) => ({ atMs, ages: {} })
  const readings = [0, 10, 20, 30].reduce((all, atMs) => kept(all, at(atMs), 15), [] as ReturnType<typeof at>[])
  expect(readings.map(({ atMs }) => atMs)).toEqual([10, 20, 30])
})
