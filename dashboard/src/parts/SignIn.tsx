import { useSignal } from '@preact/signals'
import { signIn, signInFault, token } from '../store'

export function SignIn() {
  const given = useSignal('')
  const isBusy = useSignal(token.value !== null)
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    isBusy.value = true
    await signIn(given.value)
    isBusy.value = false
  }
  return (
    <main class="sign-in">
      <form class="card" onSubmit={(event) => void submit(event)}>
        <h1 class="brand">
          <img src="./icon.svg" alt="" width="28" height="28" />
          Foliostream
        </h1>
        <label for="token">Access token</label>
        <input
          id="token"
          type="password"
          required
          autocomplete="off"
          spellcheck={false}
          value={given.value}
          aria-describedby="token-help token-fault"
          onInput={(event) => (given.value = event.currentTarget.value)}
        />
        <p id="token-help" class="hint">
          A JWT of your identity provider. On the local cloud: <code>make token SUB=demo</code>. It is kept until this tab is
          closed.
        </p>
        <p id="token-fault" class="fault" role="alert">
          {signInFault.value}
        </p>
        <button type="submit" class="main" disabled={isBusy.value && !signInFault.value}>
          Sign in
        </button>
      </form>
    </main>
  )
}
