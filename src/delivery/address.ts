/**
 * Which addresses Annals calls. A webhook's address comes from whoever submits a request, and is called from inside the
 * vendor's network: without this it would be a way to reach what lies there (server-side request forgery).
 *
 * What is judged is the address that the connection then goes to, in the one form that the kernel takes; never the text of
 * a host name. IPv4 is allowed but for its special ranges; IPv6 only inside 2000::/3, the one range that is routed, and
 * there but for what embeds or tunnels IPv4. Ranges are those of the IANA special-purpose registries, by `ipaddr.js`.
 */
import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

/**
 * `private`: inside a network (loopback, RFC 1918, unique local, carrier-grade NAT): called only where the operator says so.
 * `never`: nothing that takes webhooks is there (metadata of clouds, link-local, multicast, reserved, tunnels).
 */
export type AddressClass = 'public' | 'private' | 'never'

const privateRanges: ReadonlySet<string> = new Set(['loopback', 'private', 'uniqueLocal', 'carrierGradeNat'])

/** Where clouds hand out credentials outside 169.254.0.0/16 (which is never called): Azure, Alibaba, AWS, Google. */
const metadataAddresses: ReadonlySet<string> = new Set([
  '168.63.129.16',
  '100.100.100.200',
  'fd00:ec2::254',
  'fd20:ce::254',
])

const globalUnicast = ipaddr.IPv6.parseCIDR('2000::/3')
const translated = ipaddr.IPv6.parseCIDR('64:ff9b::/96')

/** @param address as a resolver gives it, or a literal of a URL without brackets; anything else is `never` */
export function classifyAddress(address: string): AddressClass {
  // What only a lenient parser takes for an address (octal, hex, two parts) is none here; nor is one with a zone.
  const version = isIP(address)
  if (version === 0 || address.includes('%')) return 'never'
  // `ipaddr.js` takes ::1.2.3.4 for the mapped ::ffff:1.2.3.4; the URL standard writes both in hexadecimal.
  const plain = version === 6 ? hostOf(new URL(`http://[${address}]/`)) : address
  const parsed = embedded(ipaddr.parse(plain))
  if (metadataAddresses.has(parsed.toString())) return 'never'
  const range: string = parsed.range()
  if (privateRanges.has(range)) return 'private'
  if (range !== 'unicast') return 'never'
  return parsed instanceof ipaddr.IPv4 || parsed.match(globalUnicast) ? 'public' : 'never'
}

/** The IPv4 address that a mapped (::ffff:0:0/96) or translated (64:ff9b::/96) one leads to. */
function embedded(address: ipaddr.IPv4 | ipaddr.IPv6): ipaddr.IPv4 | ipaddr.IPv6 {
  if (address instanceof ipaddr.IPv4) return address
  const leads = address.isIPv4MappedAddress() || address.match(translated)
  return leads ? new ipaddr.IPv4(address.toByteArray().slice(12)) : address
}

export interface AddressRules {
  /** Private addresses may be called, and without TLS; public ones always need it. */
  readonly allowPrivate: boolean
}

/** Limits of an address; docs/webhooks.md repeats them. */
export const maxUrlLength = 2_048

/** What is wrong with an address as text, as a field's code; undefined where it may stand. */
export function urlProblem(
  text: string,
  { allowPrivate }: AddressRules,
): 'malformed_value' | 'not_allowed' | undefined {
  if (text.length > maxUrlLength || !URL.canParse(text)) return 'malformed_value'
  const url = new URL(text)
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'malformed_value'
  // Credentials in an address end up in logs; a signature is what says who calls.
  if (url.username !== '' || url.password !== '') return 'not_allowed'
  if (url.protocol === 'http:' && !allowPrivate) return 'not_allowed'
  const host = hostOf(url)
  if (isIP(host) === 0) return undefined
  const found = classifyAddress(host)
  return mayCall(url, found, { allowPrivate }) ? undefined : 'not_allowed'
}

/** May an address of this class be called for this URL? */
export function mayCall({ protocol }: URL, found: AddressClass, { allowPrivate }: AddressRules): boolean {
  if (found === 'private') return allowPrivate
  // A person's identifiers never cross the internet in clear.
  return found === 'public' && protocol === 'https:'
}

/** The host without the brackets of IPv6, and without the dot that ends an absolute name. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
}
