// docker://: a real registry, open and with passwords, and the ways in which what stands before one can behave.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Image, ImageOptions } from '../../src/image/open.ts'
import { parsePlatform } from '../../src/image/platform.ts'
import { flatten } from '../../src/model/stack.ts'
import type { Tree } from '../../src/model/tree.ts'
import { makeImages, open, readImage, type Images } from './images.ts'
import { copy, startFront, startRegistry, type Answer, type Registry } from './registries.ts'

let images: Images
let work = ''
let registry: Registry
let guarded: Registry
let expected: Tree
beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'varve-registry-'))
  images = makeImages()
  registry = await startRegistry(join(work, 'open'), 'open')
  guarded = await startRegistry(join(work, 'guarded'), 'password')
  copy(`oci:${images.path('oci:app')}`, `docker://${registry.host}/team/app:1`)
  copy(`oci:${images.path('multi:app')}`, `docker://${registry.host}/multi`, '--all')
  copy(`oci:${images.path('oci:app')}`, `docker://${guarded.host}/team/app:1`, '--dest-creds=varve:secret')
  expected = (await flat(await open('oci', images.path('oci')))).tree
})
afterAll(() => {
  registry[Symbol.dispose]()
  guarded[Symbol.dispose]()
  images[Symbol.dispose]()
  rmSync(work, { recursive: true })
})

const pull = (name: string, more: Partial<ImageOptions> = {}): Promise<Image> => open('docker', `//${name}`, more)
async function flat(opened: Image): Promise<{ tree: Tree; name: string }> {
  await using image = opened
  return { tree: flatten((await readImage(image)).trees), name: image.name }
}
let files = 0
/** An auth file that the environment names. */
function authFile(json: unknown): { environment: Record<string, string> } {
  const path = join(work, `auth-${files++}.json`)
  writeFileSync(path, typeof json === 'string' ? json : JSON.stringify(json))
  return { environment: { REGISTRY_AUTH_FILE: path } }
}
const auth = (user: string, password: string) => ({ auth: Buffer.from(`${user}:${password}`).toString('base64') })

describe('openImage() of docker:// reads', () => {
  test('an image as it was pushed', async () => {
    const { tree, name } = await flat(await pull(`${registry.host}/team/app:1`))
    expect(tree).toEqual(expected)
    expect(name).toMatch(/^docker:\/\/127\.0\.0\.1:[0-9]+\/team\/app:1@sha256:[0-9a-f]{64}$/)
    expect((await pull(name.slice('docker://'.length))).name.replace(/^.*@/, '@')).toBe(name.replace(/^.*@/, '@'))
  })
  test('of an index the image for a platform', async () => {
    await using image = await pull(`${registry.host}/multi`, { platform: parsePlatform('linux/aarch64') })
    expect(image.platform.architecture).toBe('arm64')
  })
  test('only the manifest and the config until a layer is opened', async () => {
    using front = await startFront(registry.host, () => 'pass')
    await using image = await pull(`${front.host}/team/app:1`)
    expect(front.asked.filter(({ url }) => url !== '/v2/')).toHaveLength(2)
    for await (const chunk of image.layers[0]!.open()) expect(chunk.length).toBeGreaterThan(0)
    expect(front.asked.at(-1)?.url).toBe(`/v2/team/app/blobs/${image.layers[0]?.digest}`)
  })
})

describe('openImage() of docker:// finds the password', () => {
  test.each<[string, () => { environment: Record<string, string> }]>([
    ['of the registry', () => authFile({ auths: { [guarded.host]: auth('varve', 'secret') } })],
    ['of the repository', () => authFile({ auths: { [guarded.host]: auth('x', 'x'), [`${guarded.host}/team/app`]: auth('varve', 'secret') } })],
    ['of a namespace', () => authFile({ auths: { [`${guarded.host}/team`]: auth('varve', 'secret') } })],
    ['of an old address', () => authFile({ auths: { [`http://${guarded.host}/v1/`]: auth('varve', 'secret') } })],
    ['that a helper knows', () => withHelper({ credHelpers: { [guarded.host]: 'varvetest' } })],
    ['that a store knows', () => withHelper({ credsStore: 'varvetest', auths: { [guarded.host]: {} } })],
    ['in docker\'s own file', () => inHome('.docker/config.json')],
    ['in podman\'s own file', () => inHome('.config/containers/auth.json')],
    ['in the file of this login', () => ({ environment: { XDG_RUNTIME_DIR: inHome('run/containers/auth.json').environment.HOME + '/run' } })],
  ])('%s', async (_, make) => {
    expect((await flat(await pull(`${guarded.host}/team/app:1`, make()))).tree).toEqual(expected)
  }) // prettier-ignore
  test.each<[string, string, () => { environment: Record<string, string> }]>([
    ['none is known', 'E_REGISTRY_AUTH', () => ({ environment: {} })],
    ['it is of another registry', 'E_REGISTRY_AUTH', () => authFile({ auths: { '127.0.0.1': auth('varve', 'secret') } })],
    ['it is wrong', 'E_REGISTRY_AUTH', () => authFile({ auths: { [guarded.host]: auth('varve', 'hunter2') } })],
    ['the helper is not there', 'E_REGISTRY_AUTH', () => authFile({ credHelpers: { [guarded.host]: 'not-there' } })],
    ['the helper is a path', 'E_CONFIG', () => authFile({ credHelpers: { [guarded.host]: '../../bin/sh' } })],
    ['the auth file is damaged', 'E_CONFIG', () => authFile('{"auths": {"x": "hunter2"')],
    ['an auth is damaged', 'E_CONFIG', () => authFile({ auths: { [guarded.host]: { auth: 'aHVudGVyMg==' } } })],
  ])('and says so where %s, without telling it', async (_, code, make) => {
    const error: unknown = await pull(`${guarded.host}/team/app:1`, make()).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code })
    expect(JSON.stringify(error) + String(error)).not.toMatch(/hunter2|aHVudGVyMg/)
  }) // prettier-ignore

  function withHelper(json: unknown) {
    const bin = join(work, `bin-${files++}`)
    mkdirSync(bin)
    const script = `#!/bin/sh\n[ "$1" = get ] && read -r server && [ "$server" = ${guarded.host} ] && echo '{"Username":"varve","Secret":"secret"}'\n`
    writeFileSync(join(bin, 'docker-credential-varvetest'), script)
    chmodSync(join(bin, 'docker-credential-varvetest'), 0o755)
    const { environment } = authFile(json)
    return { environment: { ...environment, PATH: `${bin}:/usr/bin:/bin` } }
  }
  function inHome(path: string) {
    const home = join(work, `home-${files++}`)
    mkdirSync(join(home, path, '..'), { recursive: true })
    writeFileSync(join(home, path), JSON.stringify({ auths: { [guarded.host]: auth('varve', 'secret') } }))
    return { environment: { HOME: home } }
  }
})

/** Lets in who has the token that it gives to who knows the password. */
function tokenServer(own: () => string, grant: (authorization: string | undefined) => string | undefined): Answer {
  return (asked, response) => {
    const url = new URL(asked.url ?? '', 'http://x')
    if (url.pathname === '/token') {
      expect(Object.fromEntries(url.searchParams)).toEqual({ service: 'varve test', scope: 'repository:team/app:pull' })
      const token = grant(asked.headers.authorization)
      response.writeHead(token === undefined ? 401 : 200).end(JSON.stringify({ token, expires_in: 60 }))
    } else if (asked.headers.authorization === 'Bearer good') return 'pass'
    else {
      const challenge = `Bearer realm="http://${own()}/token",service="varve test",scope="repository:team/app:pull"`
      response.writeHead(401, { 'www-authenticate': challenge }).end()
    }
    return undefined
  }
}

describe('openImage() of docker:// gets a token', () => {
  test('for nobody, once', async () => {
    let own = ''
    using front = await startFront(registry.host, tokenServer(() => own, (authorization) => (authorization === undefined ? 'good' : undefined))) // prettier-ignore
    own = front.host
    expect((await flat(await pull(`${front.host}/team/app:1`))).tree).toEqual(expected)
    expect(front.asked.filter(({ url }) => url.startsWith('/token'))).toHaveLength(1)
  })
  test('for a name and a password, which go nowhere else', async () => {
    let own = ''
    const basic = `Basic ${auth('varve', 'secret').auth}`
    using front = await startFront(registry.host, tokenServer(() => own, (authorization) => (authorization === basic ? 'good' : undefined))) // prettier-ignore
    own = front.host
    const options = authFile({ auths: { [front.host]: auth('varve', 'secret') } })
    expect((await flat(await pull(`${front.host}/team/app:1`, options))).tree).toEqual(expected)
    const told = front.asked.filter(({ authorization }) => authorization?.startsWith('Basic '))
    expect(told.every(({ url }) => url.startsWith('/token?'))).toBe(true)
  })
  test('for an identity, which is not sent to the registry', async () => {
    let own = ''
    const forms: string[] = []
    const guard = tokenServer(() => own, () => undefined) // prettier-ignore
    using front = await startFront(registry.host, (asked, response) => {
      if (asked.method !== 'POST') return guard(asked, response)
      void text(asked).then((form) => {
        forms.push(form)
        return response.end('{"access_token":"good"}')
      })
      return undefined
    })
    own = front.host
    const options = authFile({ auths: { [front.host]: { ...auth('<token>', ''), identitytoken: 'who am I' } } })
    expect((await flat(await pull(`${front.host}/team/app:1`, options))).tree).toEqual(expected)
    expect(Object.fromEntries(new URLSearchParams(forms[0]))).toEqual({
      grant_type: 'refresh_token',
      refresh_token: 'who am I',
      client_id: 'varve',
      service: 'varve test',
      scope: 'repository:team/app:pull',
    })
    expect(forms).toHaveLength(1)
    expect(JSON.stringify(front.asked)).not.toContain('who')
  })
  test('and says so where it is refused one, or has to ask in the clear', async () => {
    let own = ''
    using front = await startFront(registry.host, tokenServer(() => own, () => undefined)) // prettier-ignore
    own = front.host
    await expect(pull(`${front.host}/team/app:1`)).rejects.toMatchObject({ code: 'E_REGISTRY_AUTH' })
    own = 'tokens.example.org'
    await expect(pull(`${front.host}/team/app:1`)).rejects.toMatchObject({
      code: 'E_REGISTRY_AUTH',
      message: expect.stringContaining('not reached by https'),
    })
  })
  test('that is no header, and says so', async () => {
    let own = ''
    using front = await startFront(registry.host, tokenServer(() => own, () => 'a\r\nb')) // prettier-ignore
    own = front.host
    await expect(pull(`${front.host}/team/app:1`)).rejects.toMatchObject({ code: 'E_REGISTRY_AUTH' })
  })
})

const isBlob = (url: string | undefined): boolean => url?.includes('/blobs/') === true

describe('openImage() of docker://', () => {
  test('is led to another host without taking along who asks', async () => {
    let own = ''
    using store = await startFront(registry.host, () => 'pass', '127.0.0.2')
    const guard = tokenServer(() => own, () => 'good') // prettier-ignore
    using front = await startFront(registry.host, (asked, response) => {
      const answered = guard(asked, response)
      if (answered !== 'pass' || !isBlob(asked.url)) return answered
      response.writeHead(307, { location: `http://${store.host}${asked.url}` }).end()
      return undefined
    })
    own = front.host
    expect((await flat(await pull(`${front.host}/team/app:1`))).tree).toEqual(expected)
    expect(store.asked.length).toBeGreaterThan(20)
    expect(store.asked.every(({ authorization }) => authorization === undefined)).toBe(true)
    expect(front.asked.some(({ url, authorization }) => isBlob(url) && authorization === 'Bearer good')).toBe(true)
  })
  test('tells no host that it is led to a password, whatever that asks', async () => {
    using thief = await startFront(registry.host, (_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
      return undefined
    }, '127.0.0.2') // prettier-ignore
    using front = await startFront(registry.host, (asked, response) => {
      if (!isBlob(asked.url)) return 'pass'
      response.writeHead(307, { location: `http://${thief.host}${asked.url}` }).end()
      return undefined
    })
    const known = auth('varve', 'secret')
    const options = authFile({ auths: { [front.host]: known, [thief.host]: known } })
    await expect(pull(`${front.host}/team/app:1`, options)).rejects.toMatchObject({ code: 'E_REGISTRY' })
    expect(thief.asked.map(({ authorization }) => authorization)).toEqual([undefined])
  })
  test.each(['http://registry.example.org/x', 'file:///etc/passwd', 'ftp://127.0.0.1/x', '/v2/team/app/loop'])(
    'is not led to %s',
    async (location) => {
      using front = await startFront(registry.host, (asked, response) => {
        if (!isBlob(asked.url) && !asked.url?.endsWith('/loop')) return 'pass'
        response.writeHead(307, { location }).end()
        return undefined
      })
      await expect(pull(`${front.host}/team/app:1`)).rejects.toMatchObject({ code: 'E_REGISTRY' })
    },
  )
  test.each(['goes on', 'begins anew'])('is cut again and again, and %s', async (how) => {
    let cuts = 0
    using front = await startFront(registry.host, (asked, response) => {
      if (how === 'begins anew') delete asked.headers.range
      if (!isBlob(asked.url) || cuts >= 3) return 'pass'
      cuts++
      void half(asked, response)
      return undefined
    })
    const half = async (asked: IncomingMessage, response: ServerResponse): Promise<void> => {
      const { range } = asked.headers
      const full = await fetch(`http://${registry.host}${asked.url}`, { headers: range === undefined ? {} : { range } })
      const bytes = Buffer.from(await full.arrayBuffer())
      response.writeHead(full.status, Object.fromEntries(full.headers))
      response.write(bytes.subarray(0, Math.ceil(bytes.length / 2)), () => setTimeout(() => response.destroy(), 20))
    }
    expect((await flat(await pull(`${front.host}/team/app:1`))).tree).toEqual(expected)
    expect(cuts).toBe(3)
    if (how === 'goes on') expect(front.asked.some(({ range }) => /^bytes=[1-9][0-9]*-$/.test(range ?? ''))).toBe(true)
  })
  test('asks again where the server fails for a while', async () => {
    let failures = 0
    using front = await startFront(registry.host, (asked, response) => {
      if (!asked.url?.includes('/manifests/') || failures === 2) return 'pass'
      response.writeHead(failures++ === 0 ? 503 : 429, { 'retry-after': '0' }).end()
      return undefined
    })
    await using image = await pull(`${front.host}/team/app:1`)
    expect(image.layers).toHaveLength(20)
  })
  test.each<[string, string, (bytes: Buffer) => Buffer]>([
    ['other bytes', 'E_DIGEST', (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from([0x55])])],
    ['fewer bytes', 'E_DIGEST', (bytes) => bytes.subarray(0, -1)],
    ['more bytes', 'E_DIGEST', (bytes) => Buffer.concat([bytes, Buffer.from([0])])],
  ])('refuses %s than the digest says', async (_, code, change) => {
    using front = await startFront(registry.host, (asked, response) => {
      if (!isBlob(asked.url)) return 'pass'
      void fetch(`http://${registry.host}${asked.url}`).then(async (full) =>
        response.end(change(Buffer.from(await full.arrayBuffer()))),
      )
      return undefined
    })
    await expect(pull(`${front.host}/team/app:1`)).rejects.toMatchObject({ code })
  })
  test('refuses a manifest that is not what its digest says', async () => {
    using front = await startFront(registry.host, (asked, response) => {
      if (!asked.url?.includes('/manifests/')) return 'pass'
      response.end('{"schemaVersion":2}')
      return undefined
    })
    await expect(pull(`${front.host}/team/app@sha256:${'0'.repeat(64)}`)).rejects.toMatchObject({ code: 'E_DIGEST' })
  })
  test.each<[string, string, () => string]>([
    ['an image that is not there', 'E_IMAGE', () => `${registry.host}/team/other`],
    ['a tag that is not there', 'E_IMAGE', () => `${registry.host}/team/app:2`],
    ['a name in upper case', 'E_IMAGE', () => `${registry.host}/Team`],
    ['a name with a space', 'E_IMAGE', () => `${registry.host}/a b`],
    ['a name that leads elsewhere', 'E_IMAGE', () => `${registry.host}/../x`],
    ['a registry that is not there', 'E_CONNECT', () => '127.0.0.1:1/x'],
  ])('refuses %s', async (_, code, name) => {
    await expect(pull(name())).rejects.toMatchObject({ code })
  })
  test('speaks in the clear to no other machine unless told so', async () => {
    using front = await startFront(registry.host, () => 'pass', '0.0.0.0')
    await expect(pull(`${front.host}/team/app:1`)).rejects.toMatchObject({ code: 'E_CONNECT' })
    expect(front.asked).toEqual([])
    await using image = await pull(`${front.host}/team/app:1`, { insecure: true })
    expect(image.layers).toHaveLength(20)
  })
})
