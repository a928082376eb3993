import 'uplot/dist/uPlot.min.css'
import './style.css'
import { render } from 'preact'
import { Page } from './parts/Page'
import { start } from './store'

start()
render(<Page />, document.getElementById('page') as HTMLElement)
