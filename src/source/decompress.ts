// Finds out how an archive is compressed and yields what is in it, within bounds of size and ratio.
import { VarveError } from '../errors.ts'
import type { Limits } from './limits.ts'
import { gunzip } from './gzip.ts'
