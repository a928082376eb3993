// How fresh valuations are: the status counts them by age, and the difference of two readings is what happened between.

/** `counts[n]` valuations were no older than `boundsMs[n]`; the last of the counts is of those beyond all bounds. */
export interface Ages {
  boundsMs: number[]
  counts: number[]
}

export interface Reading {
  atMs: number
  ages: Record<string, Ages>
}

/** What happened between an older reading and a newer one; the newer one alone where counting began anew. */
export function between(older: Ages | undefined, newer: Ages): Ages {
  const counts = newer.counts.map((count, place) => count - (older?.counts[place] ?? 0))
  return counts.some((count) => count < 0) ? newer : { boundsMs: newer.boundsMs, counts }
}

/** How many there are. */
export function total(ages: Ages): number {
  return ages.counts.reduce((sum, count) => sum + count, 0)
}

/** The age that a part (such as 0.99) does not exceed, as even as its class allows: null without any, Infinity beyond. */
export function quantileMs(ages: Ages, part: number): number | null {
  const wanted = total(ages) * part
  if (wanted === 0) return null
  let before = 0
  for (const [place, count] of ages.counts.entries()) {
    if (count > 0 && before + count >= wanted) {
      const upper = ages.boundsMs[place]
      const lower = place === 0 ? 0 : (ages.boundsMs[place - 1] ?? 0)
      return upper === undefined ? Infinity : lower + ((upper - lower) * (wanted - before)) / count
    }
    before += count
  }
  return null
}

/** The readings with a new one, without those that are older than needed to go back `spanMs`. */
export function kept(readings: Reading[], reading: Reading, spanMs: number): Reading[] {
  return [...readings, reading].filter(({ atMs }, place, all) => reading.atMs - (all[place + 1]?.atMs ?? atMs) < spanMs)
}
