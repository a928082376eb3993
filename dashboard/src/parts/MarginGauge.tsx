import { MISSING, money, percent, plain, toNumber } from '../lib/exact'
import type { Margin } from '../lib/state'

// The bar ends here: above, an account is out of danger by any usual level.
const SCALE_PERCENT = 300
const CALL_PERCENT = 100
const STOP_OUT_PERCENT = 50

const STATES: Record<Margin['state'], string> = {
  ok: 'ok',
  warning: 'warning',
  call: 'margin call',
  stop_out: 'stop out',
  unknown: 'unknown: prices are missing or old',
}

/** Margin level against the levels of call and stop-out. */
export function MarginGauge({ margin, currency }: { margin: Margin; currency: string }) {
  const level = toNumber(margin.level_percent)
  const call = toNumber(margin.call_percent) ?? CALL_PERCENT
  const stopOut = toNumber(margin.stop_out_percent) ?? STOP_OUT_PERCENT
  const width = level === null ? 0 : place(level)
  return (
    <section class="card" aria-labelledby="margin">
      <h3 id="margin">
        Margin <b class={`badge ${margin.state}`}>{STATES[margin.state]}</b>
      </h3>
      <svg
        class={`gauge ${margin.state}`}
        viewBox="0 0 100 9"
        preserveAspectRatio="none"
        role="meter"
        aria-label="Margin level in percent"
        aria-valuemin={0}
        aria-valuemax={SCALE_PERCENT}
        aria-valuenow={Math.min(Math.max(level ?? 0, 0), SCALE_PERCENT)}
        aria-valuetext={level === null ? 'no positions' : percent(margin.level_percent, false)}
      >
        <rect class="track" x="0" y="2" width="100" height="5" />
        <rect class="level" x="0" y="2" width={width} height="5" />
        <rect class="mark call" x={place(call)} y="0" width="0.4" height="9" />
        <rect class="mark stop" x={place(stopOut)} y="0" width="0.4" height="9" />
      </svg>
      <p class="hint scale">
        {`Stop out at ${plain(String(stopOut))} %, margin call at ${plain(String(call))} %, the bar ends at ${SCALE_PERCENT} %.`}
      </p>
      <dl class="inline">
        <Figure name="Level" text={level === null ? MISSING : percent(margin.level_percent, false)} />
        <Figure name={`Equity ${currency}`} text={money(margin.equity)} />
        <Figure name="Used" text={money(margin.used)} />
        <Figure name="Free" text={money(margin.free)} />
        <Figure name="Exposure" text={money(margin.exposure)} />
        <Figure name="Leverage used" text={plain(margin.leverage_used, 2)} />
      </dl>
    </section>
  )
}

function place(percentage: number): number {
  return (Math.min(Math.max(percentage, 0), SCALE_PERCENT) / SCALE_PERCENT) * 100
}

function Figure({ name, text }: { name: string; text: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{text}</dd>
    </div>
  )
}
