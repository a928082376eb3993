import { useEffect, useRef } from 'preact/hooks'
import { type Amount, toNumber } from '../lib/exact'

interface Props {
  amount: Amount | null | undefined
  text: string
  class?: string
}

/** A figure that flashes in the direction it moved. */
export function Changing({ amount, text, class: name = '' }: Props) {
  const element = useRef<HTMLSpanElement>(null)
  const before = useRef<number | null>(null)
  useEffect(() => {
    const value = toNumber(amount)
    if (before.current !== null && value !== null && value !== before.current) {
      const direction = value > before.current ? 'rose' : 'fell'
      element.current?.getAnimations().forEach((running) => running.cancel())
      element.current?.classList.remove('rose', 'fell')
      // Reading a size makes the browser see the class gone, so that the animation starts again.
      void element.current?.offsetWidth
      element.current?.classList.add(direction)
    }
    before.current = value
  }, [amount])
  return (
    <span ref={element} class={`changing ${name}`}>
      {text}
    </span>
  )
}
