// layerEntries: which names of a layer's archive hide what is below, and which no layer may have.
import { describe, expect, test } from 'vitest'
import { layerEntries } from '../../src/image/layer-entries.ts'
import { byteString } from '../../src/model/bytes.ts'
import { chunked, rawArchive, rawMember, rawPax } from '../tar/raw-header.ts'

const file = (name: string, body = ''): Buffer => rawMember({ name }, body)
const directory = (name: string): Buffer => rawMember({ name, type: '5', mode: '0000700\0' })
const link = (name: string, linkname: string): Buffer => rawMember({ name, type: '1', linkname })
const read = (...parts: Buffer[]) => layerEntries(chunked(rawArchive(...parts)))

describe('layerEntries() reads', () => {
  test('whiteouts and opaque directories, whatever their order', async () => {
    const parts = [
      file('d/.wh.gone'),
      directory('d'),
      file('d/f'),
      file('o/f'),
      file('o/.wh..wh..opq'),
      file('.wh.top'),
    ]
    for (const order of [parts, parts.toReversed()]) {
      const layer = await read(...order)
      expect(layer.whiteouts).toEqual(new Set(['d/gone', 'top']))
      expect(layer.opaque).toEqual(new Set(['o']))
      expect(layer.tree.entries.map(({ path }) => path)).toEqual(['', 'd', 'd/f', 'o', 'o/f'])
      expect(layer.implied).toEqual(new Set(['', 'o']))
    }
  })
  test('an opaque root, and a root that is named', async () => {
    const layer = await read(file('.wh..wh..opq'), directory('./'))
    expect(layer.opaque).toEqual(new Set(['']))
    expect(layer.implied).toEqual(new Set())
  })
  test('a whiteout beside a new file of that name', async () => {
    const layer = await read(file('.wh.a'), file('a'))
    expect(layer.whiteouts).toEqual(new Set(['a']))
    expect(layer.tree.entries).toHaveLength(2)
  })
  test('whiteouts that are hard links of one another', async () => {
    expect((await read(file('.wh.a'), link('.wh.b', '.wh.a'))).whiteouts).toEqual(new Set(['a', 'b']))
  })
  test('67 whiteouts that hide nothing', async () => {
    expect((await read(file('.wh.x'), file('n/.wh..wh..opq'))).opaque).toEqual(new Set(['n']))
  })
  test('hard links to the layer and to layers below', async () => {
    const layer = await read(file('f', 'x'), link('g', 'f'), link('b', 'etc/low'), link('c', './b'))
    expect(layer.tree.entries.slice(1)).toMatchObject([{ path: 'f' }, { path: 'g', first: 'f' }])
    expect([...layer.links]).toEqual([['b', 'etc/low'], ['c', 'etc/low']]) // prettier-ignore
    expect(layer.contents.get(byteString('g'))).toEqual({ offset: 512, size: 1 })
  })
  test('a link to a layer below that the layer replaces by a file', async () => {
    const layer = await read(link('b', 'low'), file('b', 'x'))
    expect(layer.links.size).toBe(0)
    expect(layer.tree.entries[1]).toMatchObject({ path: 'b', size: 1 })
  })
  test('names that only look like whiteouts', async () => {
    const layer = await read(file('a.wh.b'), file('.wh'), file('.why'))
    expect(layer.whiteouts.size).toBe(0)
    expect(layer.tree.entries).toHaveLength(4)
  })
})

describe('layerEntries() refuses', () => {
  const forged = rawPax([['SCHILY.xattr.trusted.overlay.opaque', 'y']])
  test.each<[string, string, Buffer[]]>([
    ['67 a whiteout of nothing', 'E_WHITEOUT', [file('.wh.')]],
    ['67 a whiteout of "."', 'E_WHITEOUT', [file('d/.wh..')]],
    ['67 a whiteout of ".."', 'E_WHITEOUT', [file('d/.wh...')]],
    ['a name that aufs kept for itself', 'E_WHITEOUT', [file('.wh..wh.plnk')]],
    ['a whiteout of a whiteout', 'E_WHITEOUT', [file('.wh..wh.a')]],
    ['a file beneath a whiteout', 'E_WHITEOUT', [file('d/.wh.a/f')]],
    ['a whiteout beneath a whiteout', 'E_WHITEOUT', [file('.wh.a/.wh.b')]],
    ['a directory as whiteout', 'E_WHITEOUT', [directory('.wh.a')]],
    ['a whiteout with contents', 'E_WHITEOUT', [file('.wh.a', 'x')]],
    ['a whiteout beneath a file', 'E_PARENT_NOT_DIR', [file('a'), file('a/.wh.b')]],
    ['an opaque file', 'E_PARENT_NOT_DIR', [file('a'), file('a/.wh..wh..opq')]],
    ['a file in place of an opaque directory', 'E_PARENT_NOT_DIR', [file('a/.wh..wh..opq'), file('a')]],
    ['43 a device 0:0', 'E_WHITEOUT_DEV', [rawMember({ name: 'c', type: '3' })]],
    ['an attribute of overlayfs', 'E_WHITEOUT_DEV', [forged, directory('d')]],
    ['an attribute of overlayfs on a whiteout', 'E_WHITEOUT_DEV', [forged, file('.wh.a')]],
    ['a hard link to what comes later', 'E_HARDLINK', [link('b', 'a'), file('a')]],
    ['a hard link to itself', 'E_HARDLINK', [link('b', 'b')]],
    ['two links to each other', 'E_HARDLINK', [link('b', 'a'), link('a', 'b')]],
    ['a hard link to outside', 'E_HARDLINK', [link('b', '../etc/passwd')]],
    ['a file beneath a hard link', 'E_PARENT_NOT_DIR', [link('b', 'a'), file('b/f')]],
    ['a name that leads out', 'E_PATH_ESCAPE', [file('../.wh.a')]],
    ['a whiteout of a name too long', 'E_PATH_LONG', [rawPax([['path', `.wh.${'x'.repeat(255)}`]]), file('x')]],
  ])('%s', async (_, code, parts) => {
    await expect(read(...parts)).rejects.toMatchObject({ code, message: expect.stringMatching(/^cannot use/) })
  })
})
