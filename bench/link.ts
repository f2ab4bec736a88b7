// The links that are measured, and the wire through which a peer speaks: shaped by proxies that count what passes.
import { linkTo } from '../test/fixture/link.ts'
import type { Host } from '../test/fixture/host.ts'
import { startProxy, type Proxy } from '../test/fixture/proxy.ts'

export interface Link {
  readonly name: string
  readonly title: string
  readonly bytesPerSecond: number
  readonly roundTripMs: number
}

export const links: readonly Link[] = [
  { name: 'loopback', title: 'loopback', bytesPerSecond: Infinity, roundTripMs: 0 },
  { name: '100m', title: '100 Mbit/s, 10 ms', bytesPerSecond: 12_500_000, roundTripMs: 10 },
  { name: '10m', title: '10 Mbit/s, 50 ms', bytesPerSecond: 1_250_000, roundTripMs: 50 },
  { name: '1m', title: '1 Mbit/s, 200 ms', bytesPerSecond: 125_000, roundTripMs: 200 },
]

export interface Wire extends AsyncDisposable {
  /** Path of an ssh_config with the host's alias. */
  ssh(): Promise<string>
  /** Where the host reaches a port of this machine's loopback. */
  toSender(port: number): Promise<{ readonly host: string; readonly port: number }>
  /** From the sender to the host, and back, over all connections so far. */
  readonly bytes: { readonly sent: number; readonly received: number }
}

export function wireTo(host: Host, link: Link): Wire {
  const shape = {
    delayMs: link.roundTripMs / 2,
    ...(link.bytesPerSecond === Infinity ? {} : { bytesPerSecond: link.bytesPerSecond }),
  }
  const forward: Proxy[] = []
  const backward: Proxy[] = []
  return {
    async ssh() {
      const opened = await linkTo(host, shape)
      forward.push(opened.proxy)
      return opened.sshConfig
    },
    async toSender(port) {
      const gateway = host.address.replace(/2$/, '1')
      const proxy = await startProxy({ to: { host: '127.0.0.1', port }, listen: gateway, ...shape })
      backward.push(proxy)
      return { host: gateway, port: proxy.port }
    },
    get bytes() {
      const sum = (proxies: readonly Proxy[], way: 'sent' | 'received'): number =>
        proxies.reduce((total, proxy) => total + proxy[way], 0)
      return {
        sent: sum(forward, 'sent') + sum(backward, 'received'),
        received: sum(forward, 'received') + sum(backward, 'sent'),
      }
    },
    async [Symbol.asyncDispose]() {
      for (const proxy of [...forward, ...backward]) await proxy.close()
    },
  }
}
