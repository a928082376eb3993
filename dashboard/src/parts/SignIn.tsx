import { useSignal } from '@preact/signals'
import { enterWithTicket, idsIn, isEntering, signIn, signInFault } from '../store'

type By = 'token' | 'ticket'

export function SignIn() {
  const by = useSignal<By>('token')
  const given = useSignal('')
  const ids = useSignal('')
  const submit = (event: Event): void => {
    event.preventDefault()
    void (by.value === 'token' ? signIn(given.value) : enterWithTicket(given.value.trim(), idsIn(ids.value)))
  }
  return (
    <main class="sign-in">
      <form class="card" onSubmit={submit}>
        <h1 class="brand">
          <img src="./icon.svg" alt="" width="28" height="28" />
          Foliostream
        </h1>
        <fieldset class="either">
          <legend class="unseen">Sign in with</legend>
          {(['token', 'ticket'] as const).map((name) => (
            <label key={name}>
              <input type="radio" name="by" checked={by.value === name} onChange={() => (by.value = name)} />
              {name === 'token' ? 'Token' : 'Ticket'}
            </label>
          ))}
        </fieldset>
        <label for="secret">{by.value === 'token' ? 'Access token' : 'Ticket for one connection'}</label>
        <input
          id="secret"
          type="password"
          required
          autocomplete="off"
          spellcheck={false}
          value={given.value}
          aria-describedby="secret-help sign-in-fault"
          onInput={(event) => (given.value = event.currentTarget.value)}
        />
        {by.value === 'token' ? (
          <p id="secret-help" class="hint">
            A JWT of your identity provider. On the local cloud: <code>make token SUB=demo</code>. It is kept until this tab
            is closed.
          </p>
        ) : (
          <>
            <p id="secret-help" class="hint">
              From <code>POST /api/v1/ws-ticket</code>, within its 30 seconds. It shows the portfolios named below until the
              connection ends.
            </p>
            <label for="ids">Portfolio ids</label>
            <input
              id="ids"
              required
              autocomplete="off"
              spellcheck={false}
              placeholder="growth, income"
              value={ids.value}
              onInput={(event) => (ids.value = event.currentTarget.value)}
            />
          </>
        )}
        <p id="sign-in-fault" class="fault" role="alert">
          {signInFault.value}
        </p>
        <button type="submit" class="main" disabled={isEntering.value}>
          {isEntering.value ? 'Signing in …' : 'Sign in'}
        </button>
      </form>
    </main>
  )
}
