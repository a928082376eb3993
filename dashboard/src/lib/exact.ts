// Amounts are exact decimals on the wire. JavaScript's numbers would give them tails, so every number that has a point
// or more digits than a double keeps stays the text it was written as; `Amount` is that text.

export type Amount = string

type Reviver = (this: unknown, key: string, value: unknown, context?: { source?: string }) => unknown

const reviveExactly: Reviver = (_key, value, context) =>
  typeof value === 'number' ? (context?.source ?? String(value)) : value

/** JSON with every number as the text it was written as. */
export function parseExactly(text: string): unknown {
  return JSON.parse(text, reviveExactly as (key: string, value: unknown) => unknown)
}

/** For drawing and comparing only, never for showing; null stays null. */
export function toNumber(amount: Amount | null | undefined): number | null {
  return amount === null || amount === undefined ? null : Number(amount)
}

const formats = new Map<string, Intl.NumberFormat>()

function format(decimals: number, minimum: number, signed: boolean): Intl.NumberFormat {
  const key = `${decimals}/${minimum}/${signed}`
  const known = formats.get(key)
  if (known) return known
  const made = new Intl.NumberFormat('en-US', {
    minimumFractionDigits: minimum,
    maximumFractionDigits: decimals,
    signDisplay: signed ? 'exceptZero' : 'auto',
    roundingMode: 'halfEven',
  } as Intl.NumberFormatOptions)
  formats.set(key, made)
  return made
}

export const MISSING = '–'

/** Money: grouped, two decimals. */
export function money(amount: Amount | null | undefined, signed = false): string {
  return shown(amount, format(2, 2, signed))
}

/** A price or a quantity: as many decimals as it has, at most `decimals`. */
export function plain(amount: Amount | null | undefined, decimals = 6, minimum = 0): string {
  return shown(amount, format(decimals, minimum, false))
}

/** `12.34` shown as `+12.34 %`. */
export function percent(amount: Amount | null | undefined, signed = true): string {
  const text = shown(amount, format(2, 2, signed))
  return text === MISSING ? text : `${text} %`
}

/** A share of one such as `0.1234` shown as `12.34 %`. */
export function share(amount: Amount | null | undefined): string {
  return amount === null || amount === undefined ? MISSING : percent(shifted(amount, 2), false)
}

function shown(amount: Amount | null | undefined, format: Intl.NumberFormat): string {
  // Intl takes decimal strings as they are, without going through a double.
  return amount === null || amount === undefined ? MISSING : format.format(amount as unknown as number)
}

/** The decimal with its point moved to the right, by text. */
export function shifted(amount: Amount, places: number): Amount {
  const [, sign, whole, fraction = '', exponent] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(amount) ?? []
  if (whole === undefined) return amount
  if (exponent !== undefined) return String(Number(amount) * 10 ** places)
  const digits = whole + fraction.padEnd(places, '0')
  const point = whole.length + places
  return `${sign}${digits.slice(0, point)}.${digits.slice(point) || '0'}`
}

/** -1, 0 or 1; 0 for what is missing. */
export function signOf(amount: Amount | null | undefined): -1 | 0 | 1 {
  const value = toNumber(amount) ?? 0
  return value > 0 ? 1 : value < 0 ? -1 : 0
}

/** How long ago, in the largest unit that fits: `now`, `12 s`, `3 min`, `2 h`, `4 d`. */
export function age(milliseconds: number | null): string {
  if (milliseconds === null) return MISSING
  const seconds = Math.max(0, Math.floor(milliseconds / 1000))
  if (seconds < 2) return 'now'
  if (seconds < 100) return `${seconds} s`
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** `10:31:05` of an ISO time, in the reader's zone. */
export function clock(iso: string | null): string {
  return iso ? new Date(iso).toLocaleTimeString('en-GB') : MISSING
}
