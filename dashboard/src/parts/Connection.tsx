import { linkState, nowMs, reconnectNow, resyncs, retryAtMs } from '../store'

const TEXTS = { connecting: 'connecting', open: 'live', waiting: 'not connected', closed: 'closed' }

/** Whether what is shown is live, and when the next try is if not. */
export function Connection() {
  const state = linkState.value
  const inSeconds = retryAtMs.value === null ? null : Math.max(0, Math.ceil((retryAtMs.value - nowMs.value) / 1000))
  return (
    <p class={`connection ${state}`} role="status">
      <span class="dot" aria-hidden="true" />
      {TEXTS[state]}
      {state === 'waiting' && (
        <>
          {/* Who hears the page is told once, not each second. */}
          <span aria-hidden="true">{` · next try in ${inSeconds} s `}</span>
          <button type="button" class="quiet" onClick={reconnectNow}>
            now
          </button>
        </>
      )}
      {resyncs.value > 0 && <span class="hint" title="Gaps that were filled by a fresh snapshot">{` · ${resyncs.value} resynced`}</span>}
    </p>
  )
}
