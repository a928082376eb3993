import { useEffect, useRef } from 'preact/hooks'
import { type Amount, toNumber } from '../lib/exact'

interface Props {
  amount: Amount | null | undefined
  text: string
  class?: string
}

const FLASH_MS = 900
const stillness = window.matchMedia('(prefers-reduced-motion: reduce)')

/** A figure that flashes in the direction it moved; one that moves while it flashes goes on as it is. */
export function Changing({ amount, text, class: name = '' }: Props) {
  const element = useRef<HTMLSpanElement>(null)
  const before = useRef<number | null>(null)
  const flash = useRef<Animation | null>(null)
  useEffect(() => {
    const value = toNumber(amount)
    const isMoved = before.current !== null && value !== null && value !== before.current
    if (isMoved && !stillness.matches && flash.current?.playState !== 'running') {
      const colour = value > (before.current ?? 0) ? 'var(--up-soft)' : 'var(--down-soft)'
      // A class that is taken off and put on again would make the browser lay out the page for every figure.
      flash.current = element.current?.animate({ backgroundColor: [colour, 'transparent'] }, { duration: FLASH_MS, easing: 'steps(9)' }) ?? null
    }
    before.current = value
  }, [amount])
  return (
    <span ref={element} class={`changing ${name}`}>
      {text}
    </span>
  )
}
