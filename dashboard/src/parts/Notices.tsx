import { dismiss, notices } from '../store'

/** What the server refused, until it is dismissed. */
export function Notices() {
  return (
    <div class="notices" role="log" aria-label="Notices">
      {notices.value.map((notice) => (
        <p key={notice.id} class="notice">
          <strong>{notice.code}</strong> {notice.text}
          <button type="button" class="quiet" aria-label={`Dismiss ${notice.code}`} onClick={() => dismiss(notice.id)}>
            ✕
          </button>
        </p>
      ))}
    </div>
  )
}
