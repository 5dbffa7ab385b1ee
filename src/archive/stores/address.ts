/**
 * The address of an archive store, as `ANNALS_ARCHIVE_URL` and `ANNALS_LEDGER_URL` hold it. Pure.
 *
 *     file:/var/annals/archive
 *     s3://bucket/prefix?region=eu-central-1&objectLock=true&sse=aws:kms&kmsKeyId=…
 *     s3://bucket?endpoint=https://s3.example&pathStyle=true
 *
 * Credentials are never in it: the SDK's standard chain finds them (AWS_ACCESS_KEY_ID and so on, profiles, roles).
 */
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface FolderAddress {
  readonly kind: 'folder'
  /** Absolute path. */
  readonly folder: string
}

export interface S3Address {
  readonly kind: 's3'
  readonly bucket: string
  /** '' or segments joined by `/`, without one at its end. */
  readonly prefix: string
  /** Of a service that is not AWS's own. */
  readonly endpoint: string | undefined
  /** Absent = AWS_REGION, or what the profile says. */
  readonly region: string | undefined
  /** The bucket's name in the path and not in the host: the default with an endpoint. */
  readonly pathStyle: boolean
  /** Do objects that ask for it get a lock? The bucket must have object lock enabled. */
  readonly objectLock: boolean
  /** Server-side encryption that every write asks for; absent = what the bucket does by itself. */
  readonly sse: 'AES256' | 'aws:kms' | undefined
  readonly kmsKeyId: string | undefined
}

export type StoreAddress = FolderAddress | S3Address

/** What is wrong with an address, in words for the one who set it. */
export class AddressError extends Error {
  override readonly name = 'AddressError'
}

/** @throws AddressError */
export function parseStoreAddress(text: string): StoreAddress {
  if (text.startsWith('file:')) return { kind: 'folder', folder: folderOf(text) }
  if (text.startsWith('s3:')) return s3Of(text)
  throw new AddressError('must start with file: or s3:')
}

/** The store in a folder of another's: `checkpoints` of an archive. */
export function within(address: StoreAddress, name: string): StoreAddress {
  if (address.kind === 'folder') return { ...address, folder: join(address.folder, name) }
  return { ...address, prefix: address.prefix === '' ? name : `${address.prefix}/${name}` }
}

function folderOf(text: string): string {
  if (/^file:\/\/[^/]/.test(text)) throw new AddressError('a file: address names no host')
  const path = text.slice('file:'.length)
  if (path === '') throw new AddressError('a file: address names a folder')
  try {
    return path.startsWith('/') ? fileURLToPath(text) : resolve(path)
  } catch {
    throw new AddressError('is no usable file: address')
  }
}

const options = ['endpoint', 'region', 'pathStyle', 'objectLock', 'sse', 'kmsKeyId'] as const
type Option = (typeof options)[number]
const bucketShape = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/
const prefixShape = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}(?:\/[A-Za-z0-9_][A-Za-z0-9._-]{0,199})*$/
const maxPrefixLength = 256

function s3Of(text: string): S3Address {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !text.startsWith('s3://')) throw new AddressError('must be s3://bucket/prefix?…')
  if (url.username !== '' || url.password !== '') {
    throw new AddressError('holds no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role')
  }
  if (url.port !== '' || url.hash !== '') throw new AddressError('has a bucket, a prefix and options only')
  if (!bucketShape.test(url.hostname)) throw new AddressError('names no bucket: s3://bucket/prefix?…')
  const prefix = url.pathname.replace(/^\/|\/$/g, '')
  if (prefix !== '' && (!prefixShape.test(prefix) || prefix.length > maxPrefixLength)) {
    throw new AddressError('its prefix is of A-Z, a-z, 0-9, ., _ and - in parts joined by /')
  }
  const given = optionsOf(url.searchParams)
  const endpoint = endpointOf(given.get('endpoint'))
  const sse = oneOf(given, 'sse', ['AES256', 'aws:kms'])
  if (given.has('kmsKeyId') && sse !== 'aws:kms') throw new AddressError('kmsKeyId goes with sse=aws:kms')
  const pathStyle = oneOf(given, 'pathStyle', ['true', 'false'])
  return {
    kind: 's3',
    bucket: url.hostname,
    prefix,
    endpoint,
    // A service of one's own mostly has none; the signature needs one all the same.
    region: given.get('region') ?? (endpoint === undefined ? undefined : 'us-east-1'),
    pathStyle: pathStyle === undefined ? endpoint !== undefined : pathStyle === 'true',
    objectLock: oneOf(given, 'objectLock', ['true', 'false']) === 'true',
    sse,
    kmsKeyId: given.get('kmsKeyId'),
  }
}

function optionsOf(parameters: URLSearchParams): ReadonlyMap<Option, string> {
  const given = new Map<Option, string>()
  for (const [name, value] of parameters) {
    const option = options.find((known) => known === name)
    if (option === undefined) throw new AddressError(`its options are ${options.join(', ')}`)
    if (given.has(option) || value === '') throw new AddressError(`${option} has one value`)
    given.set(option, value)
  }
  return given
}

function endpointOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.search !== '') {
    throw new AddressError('endpoint is an http: or https: address')
  }
  return text.replace(/\/+$/, '')
}

function oneOf<Value extends string>(
  given: ReadonlyMap<Option, string>,
  option: Option,
  values: readonly Value[],
): Value | undefined {
  const text = given.get(option)
  if (text === undefined) return undefined
  const value = values.find((known) => known === text)
  if (value === undefined) throw new AddressError(`${option} is ${values.join(' or ')}`)
  return value
}
