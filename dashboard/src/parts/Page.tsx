import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { entry, selectedId, signOut, summaries } from '../store'
import { Connection } from './Connection'
import { Notices } from './Notices'
import { Operations } from './Operations'
import { Portfolio } from './Portfolio'
import { PortfolioList } from './PortfolioList'
import { SignIn } from './SignIn'

type Tab = 'portfolios' | 'operations'

export function Page() {
  const tab = useSignal<Tab>('portfolios')
  if (entry.value === 'none') return <SignIn />
  return (
    <>
      <button type="button" class="skip" onClick={() => document.querySelector('main')?.focus()}>
        To the figures
      </button>
      <header class="top">
        <h1 class="brand">
          <img src="./icon.svg" alt="" width="24" height="24" />
          Foliostream
        </h1>
        <nav aria-label="Views" class="tabs">
          {(entry.value === 'token' ? (['portfolios', 'operations'] as const) : (['portfolios'] as const)).map((name) => (
            <button
              key={name}
              type="button"
              aria-current={tab.value === name ? 'page' : undefined}
              onClick={() => (tab.value = name)}
            >
              {name === 'portfolios' ? 'Portfolios' : 'Operations'}
            </button>
          ))}
        </nav>
        <Connection />
        <Theme />
        <button type="button" class="quiet" onClick={signOut}>
          Sign out
        </button>
      </header>
      <Notices />
      {tab.value === 'operations' && entry.value === 'token' ? (
        <Operations />
      ) : (
        <div class="columns">
          <PortfolioList />
          <main tabIndex={-1}>
            {selectedId.value ? <Portfolio key={selectedId.value} portfolioId={selectedId.value} /> : <Nothing />}
          </main>
        </div>
      )}
    </>
  )
}

function Nothing() {
  return summaries.value.length ? null : (
    <section class="card">
      <h2>No portfolios yet</h2>
      <p>
        This account owns no portfolio. Create one with <code>POST /api/v1/portfolios</code>, then reload this page.
      </p>
    </section>
  )
}

const THEMES = ['auto', 'light', 'dark'] as const

function Theme() {
  const theme = useSignal(localStorage.getItem('foliostream.theme') ?? 'auto')
  useEffect(() => {
    document.documentElement.dataset.theme = theme.value
    localStorage.setItem('foliostream.theme', theme.value)
  }, [theme.value])
  const following = THEMES[(THEMES.indexOf(theme.value as 'auto') + 1) % THEMES.length] ?? 'auto'
  return (
    <button type="button" class="quiet" title={`Change to ${following} colours`} onClick={() => (theme.value = following)}>
      <span aria-hidden="true">◐ </span>
      <span class="unseen">Colours: </span>
      {theme.value}
    </button>
  )
}
