// A real registry on loopback, and servers before it that redirect, cut lines, hand out tokens, and remember what they were asked.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

export type Registry = Disposable & { readonly host: string }

/** `varve` with the password `secret`; to make another: htpasswd -Bbn -C 4 NAME PASSWORD */
const HTPASSWD = 'varve:$2y$04$I8bJRMKrXmVDN4ugj3PGXeuOUCraw.E6moD26noadY2k4sSFmZ.ju\n'
let port = 5100

export async function startRegistry(directory: string, auth: 'open' | 'password'): Promise<Registry> {
  mkdirSync(directory, { recursive: true })
  const host = `127.0.0.1:${port++}`
  writeFileSync(join(directory, 'htpasswd'), HTPASSWD)
  const guard = auth === 'open' ? '' : `auth: {htpasswd: {realm: varve, path: ${directory}/htpasswd}}\n`
  const config = `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${directory}/data}}\nhttp: {addr: "${host}"}\n${guard}`
  writeFileSync(join(directory, 'config.yml'), config)
  const child = spawn('docker-registry', ['serve', join(directory, 'config.yml')], { stdio: 'ignore' })
  for (let tries = 0; ; tries++) {
    const answered = await fetch(`http://${host}/v2/`).catch(() => undefined)
    if (answered !== undefined) break
    if (tries === 100) throw new Error('docker-registry does not start')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return { host, [Symbol.dispose]: () => void child.kill('SIGKILL') }
}

export function copy(from: string, to: string, ...options: string[]): void {
  const words = ['--insecure-policy', 'copy', '-q', '--dest-tls-verify=false', ...options, from, to]
  execFileSync('skopeo', words, { stdio: 'inherit' })
}

export type Front = Disposable & {
  readonly host: string
  readonly asked: {
    readonly url: string
    readonly authorization: string | undefined
    readonly range: string | undefined
  }[]
}

/** Answers itself, or leaves the request to the registry by returning `pass`. */
export type Answer = (asked: IncomingMessage, response: ServerResponse) => 'pass' | undefined

export async function startFront(registry: string, answer: Answer, address = '127.0.0.1'): Promise<Front> {
  const asked: { url: string; authorization: string | undefined; range: string | undefined }[] = []
  const server = createServer((incoming, response) => {
    const { authorization, range } = incoming.headers
    asked.push({ url: incoming.url ?? '', authorization, range })
    if (answer(incoming, response) !== 'pass') return
    const { host: _, authorization: __, ...headers } = incoming.headers
    const passed = request(`http://${registry}${incoming.url}`, { headers }, (answered) => {
      response.writeHead(answered.statusCode ?? 500, answered.headers)
      answered.pipe(response)
    })
    passed.on('error', () => response.destroy())
    passed.end()
  })
  server.listen(0, address)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { host: `${address}:${port}`, asked, [Symbol.dispose]: () => server.close().closeAllConnections() }
}
