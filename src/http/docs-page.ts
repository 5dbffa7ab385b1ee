/** `/docs` and `/docs/errors`: readable pages made from the API document and the problem table, without outside assets. */
import { errorCodes } from '../errors.js'
import type { ApiDocument } from './openapi.js'
import { problemTable } from './problem-table.js'

const escape = (text: unknown): string =>
  String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

/** Text with `code` in backticks, as descriptions write it. */
const prose = (text: unknown): string => escape(text).replace(/`([^`]+)`/g, '<code>$1</code>')

const style = `
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --link: #06c }
@media (prefers-color-scheme: dark) { :root { --link: #6bf } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
a { color: var(--link) } h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
code, pre { font: 0.875em/1.45 ui-monospace, monospace }
pre { background: var(--soft); padding: .75rem; overflow: auto; border-radius: .4rem }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0; padding: .25rem .75rem }
summary { cursor: pointer; padding: .25rem 0 } summary span { opacity: .75; margin-left: .5rem }
b.method { display: inline-block; min-width: 4.5rem; font: 600 .875em ui-monospace, monospace }
table { border-collapse: collapse; width: 100%; font-size: .9375rem }
td, th { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line) }
tr:target { background: var(--soft) }`

const page = (title: string, body: string): string => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(title)}</title><style>${style}</style></head><body>
${body}
</body></html>
`

const table = (heads: readonly string[], rows: readonly string[]): string =>
  `<table><thead><tr>${heads.map((head) => `<th>${head}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table>`

type Json = Readonly<Record<string, unknown>>
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const member = (value: unknown, name: string): unknown => (isObject(value) ? value[name] : undefined)
const entries = (value: unknown): [string, unknown][] => (isObject(value) ? Object.entries(value) : [])
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

const capitalized = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1)

const methods = ['get', 'put', 'post', 'delete'] as const
const maxDepth = 8

/** The endpoints with their parameters, bodies and answers. */
export function renderDocs(document: ApiDocument): string {
  const groups = new Map<string, string[]>()
  for (const [path, item] of entries(document.paths)) {
    for (const method of methods) {
      const operation = member(item, method)
      if (operation === undefined) continue
      const [tag = 'Other'] = list(member(operation, 'tags')).map((name) => capitalized(String(name)))
      groups.set(tag, [...(groups.get(tag) ?? []), renderOperation(document, method, path, operation)])
    }
  }
  const sections = [...groups].map(([tag, operations]) => `<h2>${escape(tag)}</h2>${operations.join('')}`)
  const intro = prose(document.info.description).replace(/\n\n/g, '</p><p>')
  return page(
    'Annals API',
    `<h1>Annals API</h1><p>Version ${escape(document.info.version)} · <a href="/openapi.json">openapi.json</a> ·
<a href="/docs/errors">errors</a></p><p>${intro}</p>${sections.join('')}`,
  )
}

function renderOperation(document: ApiDocument, method: string, path: string, operation: unknown): string {
  const parameters = list(member(operation, 'parameters')).map(
    (parameter) =>
      `<tr><td><code>${escape(member(parameter, 'name'))}</code></td><td>${escape(member(parameter, 'in'))}</td>` +
      `<td>${member(parameter, 'required') === true ? 'yes' : ''}</td>` +
      `<td>${prose(member(parameter, 'description') ?? '')} <code>${escape(typeOf(document, member(parameter, 'schema'), maxDepth))}</code></td></tr>`,
  )
  const answers = entries(member(operation, 'responses')).map(
    ([status, answer]) =>
      `<tr><td>${escape(status)}</td><td>${prose(member(answer, 'description') ?? '')}${renderContent(document, answer, status)}</td></tr>`,
  )
  const body = member(operation, 'requestBody')
  const details = [
    `<p>${prose(member(operation, 'description') ?? '')}</p>`,
    parameters.length > 0 ? table(['Parameter', 'In', 'Needed', ''], parameters) : '',
    body === undefined ? '' : `<h4>Body</h4>${renderContent(document, body, '')}`,
    `<h4>Answers</h4>${table(['Status', ''], answers)}`,
  ]
  const summary = `<b class="method">${method.toUpperCase()}</b><code>${escape(path)}</code><span>${prose(member(operation, 'summary') ?? '')}</span>`
  return `<details><summary>${summary}</summary>${details.join('')}</details>`
}

/** Problem documents look alike: their schema is shown once, at /docs/errors. */
function renderContent(document: ApiDocument, holder: unknown, status: string): string {
  if (Number(status) >= 400) return ''
  return entries(member(holder, 'content'))
    .map(
      ([type, media]) =>
        `<p>${escape(type)}</p><pre>${escape(typeOf(document, member(media, 'schema'), maxDepth))}</pre>`,
    )
    .join('')
}

/** A JSON Schema in the words of TypeScript: near enough to read, and short. */
function typeOf(document: ApiDocument, schema: unknown, depth: number, indent = ''): string {
  const reference = member(schema, '$ref')
  if (typeof reference === 'string') {
    const name = reference.split('/').at(-1) ?? ''
    const target = entries(document.components?.schemas).find(([known]) => known === name)?.[1]
    return depth <= 0 || target === undefined ? name : typeOf(document, target, depth - 1, indent)
  }
  if (!isObject(schema)) return 'any'
  if (schema['const'] !== undefined) return JSON.stringify(schema['const'])
  const options = list(schema['enum'])
  if (options.length > 0) return options.map((option) => JSON.stringify(option)).join(' | ')
  for (const union of ['anyOf', 'oneOf'] as const) {
    const members = list(schema[union])
    if (members.length > 0) return members.map((one) => typeOf(document, one, depth - 1, indent)).join(' | ')
  }
  const type = schema['type']
  if (type === 'array') return `${typeOf(document, schema['items'], depth - 1, indent)}[]`
  if (type === 'object') return objectType(document, schema, depth, indent)
  const limits = ['format', 'pattern', 'minimum', 'maximum', 'minLength', 'maxLength', 'default']
    .filter((name) => schema[name] !== undefined)
    .map((name) => `${name} ${String(schema[name])}`)
  const name = Array.isArray(type) ? type.map(String).join(' | ') : typeof type === 'string' ? type : 'any'
  return limits.length > 0 ? `${name} (${limits.join(', ')})` : name
}

function objectType(document: ApiDocument, schema: Json, depth: number, indent: string): string {
  const members = entries(schema['properties'])
  if (members.length === 0 || depth <= 0) return '{…}'
  const required = new Set(list(schema['required']))
  const lines = members.map(([name, value]) => {
    const description = member(value, 'description')
    const comment = typeof description === 'string' ? `  // ${description}` : ''
    const type = typeOf(document, value, depth - 1, `${indent}  `)
    return `${indent}  ${name}${required.has(name) ? '' : '?'}: ${type}${comment}`
  })
  return `{\n${lines.join('\n')}\n${indent}}`
}

/** What each code means; the `type` of a problem document points here. */
export function renderErrors(): string {
  const rows = errorCodes.map((code) => {
    const { status, title, meaning } = problemTable[code]
    return `<tr id="${code}"><td><code>${code}</code></td><td>${status}</td><td>${escape(title)}</td><td>${prose(meaning)}</td></tr>`
  })
  return page(
    'Annals errors',
    `<h1>Errors</h1><p><a href="/docs">API</a></p><p>Every failure is an <code>application/problem+json</code> document (RFC 9457) with
one of these as its <code>code</code>.</p>${table(['Code', 'Status', 'Title', 'Meaning'], rows)}`,
  )
}
