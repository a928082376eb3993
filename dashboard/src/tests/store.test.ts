import { expect, test, vi } from 'vitest'

vi.stubGlobal('sessionStorage', { getItem: () => null, setItem: () => undefined, removeItem: () => undefined })
const { extended, idsIn } = await import('../store')

const line = (...times: number[]) =>
  times.reduce((all, atMs) => extended(all, { atMs, value: atMs }), [] as ReturnType<typeof extended>).map(({ atMs }) => atMs)

test('a line never has three points within half a second, and always the newest', () => {
  expect(line(0, 100, 200, 499)).toEqual([0, 499])
  expect(line(0, 100, 600, 700, 800)).toEqual([0, 100, 600, 800])
})

test('a line is as long as half an hour at most', () => {
  expect(line(...Array.from({ length: 4000 }, (_, place) => place * 1000))).toHaveLength(3600)
})

test('portfolio ids stand between commas or spaces, each once', () => {
  expect(idsIn(' growth, income  growth\n')).toEqual(['growth', 'income'])
  expect(idsIn('')).toEqual([])
})
