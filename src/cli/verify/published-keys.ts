/** Keys that a server publishes for whoever checks what it signed. */
import { createTransport, failureOf } from '../../client/transport.js'

const timeoutMs = 30_000

/** They are public: no access key is needed, and none is sent. @returns lines @throws AnnalsClientError */
export async function publishedKeys(
  url: string,
  path: '/v1/certificates/keys' | '/v1/archive/keys',
): Promise<string[]> {
  const send = createTransport({ url, key: '' })
  const response = await send({ method: 'GET', path, headers: { accept: 'text/plain' }, timeoutMs })
  try {
    return (await response.text()).split('\n').filter((line) => line !== '')
  } catch (error) {
    throw failureOf(error)
  }
}
