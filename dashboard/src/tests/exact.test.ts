import { describe, expect, it } from 'vitest'
import { age, MISSING, money, parseExactly, percent, plain, share, shifted, signOf } from '../lib/exact'

describe('numbers', () => {
  it('keep every digit they were written with', () => {
    expect(parseExactly('{"a": 123456789012345.67, "b": 0.1, "c": [75125.5], "d": null}')).toEqual({
      a: '123456789012345.67',
      b: '0.1',
      c: ['75125.5'],
      d: null,
    })
  })

  it('are shown without a tail, also beyond what a double holds', () => {
    expect(money('123456789012345.67')).toBe('123,456,789,012,345.67')
    expect(money('0.1')).toBe('0.10')
    expect(money('-1363', true)).toBe('-1,363.00')
    expect(money('12.5', true)).toBe('+12.50')
  })

  it('that are missing are a dash, never 0', () => {
    for (const shown of [money(null), plain(undefined), percent(null), share(null), age(null)]) expect(shown).toBe(MISSING)
  })

  it('keep their own decimals as prices and quantities', () => {
    expect(plain('1.234567')).toBe('1.234567')
    expect(plain('500')).toBe('500')
    expect(plain('150.2', 6, 2)).toBe('150.20')
  })

  it.each([
    ['0.1234', '12.34'],
    ['-0.5', '-050.0'],
    ['1', '100.0'],
    ['0.000001', '000.0001'],
  ])('move their point as text: %s', (given, expected) => {
    expect(Number(shifted(given, 2))).toBe(Number(expected))
  })

  it('have a sign, which is 0 for what is missing', () => {
    expect([signOf('-0.01'), signOf('0.00'), signOf('3'), signOf(null)]).toEqual([-1, 0, 1, 0])
  })
})

describe('an age', () => {
  it.each([
    [500, 'now'],
    [12_000, '12 s'],
    [180_000, '3 min'],
    [7_200_000, '2 h'],
    [4 * 86_400_000, '4 d'],
    [-5000, 'now'],
  ])('%i ms', (given, expected) => expect(age(given)).toBe(expected))
})
