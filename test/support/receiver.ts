/** A receiver of webhooks: verifies as the documentation tells receivers to, keeps what it took once, and can misbehave. */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { readFileSync } from 'node:fs'
import { Webhook } from 'standardwebhooks'

const fixture = (name: string) => readFileSync(new URL(`../fixtures/tls/${name}`, import.meta.url), 'utf8')
/** The authority of the receivers' certificate, which is for `recipient.test` and 127.0.0.1. */
export const testAuthority = fixture('ca.pem')

export interface Delivered {
  readonly id: string
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
}

export type Behaviour = (request: IncomingMessage, response: ServerResponse) => void

export const answering =
  (status: number, headers: Readonly<Record<string, string>> = {}): Behaviour =>
  (_request, response) => {
    response.writeHead(status, headers).end()
  }

export interface Receiver {
  readonly port: number
  readonly url: string
  /** Every call, also the refused and the repeated ones. */
  readonly calls: readonly Delivered[]
  /** Each webhook once, by its id: what a receiver acts upon. */
  readonly taken: ReadonlyMap<string, Delivered>
  /** Verifies with these secrets from now on; without one every call is taken as it is. */
  trust(...secrets: readonly string[]): void
  /** Answers in this way from now on; undefined = verifies, and takes. */
  behave(how: Behaviour | undefined): void
  close(): Promise<void>
}

export async function startReceiver(options: { readonly tls?: boolean } = {}): Promise<Receiver> {
  const calls: Delivered[] = []
  const taken = new Map<string, Delivered>()
  let secrets: readonly string[] = []
  let behaviour: Behaviour | undefined

  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString('utf8')
      const headers = Object.fromEntries(
        Object.entries(request.headers).flatMap(([name, value]) =>
          typeof value === 'string' ? [[name, value]] : [],
        ),
      )
      const call = { id: headers['webhook-id'] ?? '', body, headers }
      calls.push(call)
      if (behaviour !== undefined) {
        behaviour(request, response)
        return
      }
      const right = secrets.length === 0 || secrets.some((secret) => verifies(secret, call))
      if (right && !taken.has(call.id)) taken.set(call.id, call)
      response.writeHead(right ? 204 : 401).end()
    })
  }
  const secure = options.tls === true
  const server: Server = secure
    ? createSecureServer({ cert: fixture('recipient.pem'), key: fixture('recipient-key.pem') }, listener)
    : createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `${secure ? 'https://recipient.test' : 'http://127.0.0.1'}:${String(port)}/hook?tenant=1`,
    calls,
    taken,
    trust: (...ours) => (secrets = ours),
    behave: (how) => (behaviour = how),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

/** As a receiver does it: the library's own verifier. */
export function verifies(secret: string, { body, headers }: Delivered): boolean {
  try {
    new Webhook(secret).verify(body, headers)
    return true
  } catch {
    return false
  }
}
