// All peers, varve first, in the order of every table.
import type { Peer } from './peer.ts'
import { borg } from './peers/borg.ts'
import { casync } from './peers/casync.ts'
import { classicGzip, classicZstd } from './peers/classic.ts'
import { ostree } from './peers/ostree.ts'
import { patchFrom } from './peers/patch-from.ts'
import { registry } from './peers/registry.ts'
import { rsync, rsyncChecksum } from './peers/rsync.ts'
import { varve, varveBareHost, varveEmptyCache } from './peers/varve.ts'

export const peers: readonly Peer[] = [
  varve,
  varveBareHost,
  varveEmptyCache,
  rsync,
  rsyncChecksum,
  classicGzip,
  classicZstd,
  registry,
  casync,
  ostree,
  borg,
  patchFrom,
]
