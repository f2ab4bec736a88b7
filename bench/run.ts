// The bench: what redeploys and images cost over SSH, and what a large tree costs locally, beside rsync and the classic script.
import { layers } from './layers.ts'
import { local } from './local.ts'
import { ssh } from './ssh.ts'

const parts = process.argv.slice(2)
if (parts.length === 0 || parts.includes('ssh')) await ssh()
if (parts.length === 0 || parts.includes('layers')) await layers()
if (parts.length === 0 || parts.includes('local')) await local()
