import { defineConfig } from 'vite'

// Relative addresses: the page works below any path of a bucket or server.
export default defineConfig({
  base: './',
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
})
