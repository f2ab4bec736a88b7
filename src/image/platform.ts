// Which of the images of an index suits a machine.
import { arch } from 'node:os'
import { VarveError } from '../errors.ts'
import { escapeControls } from '../model/bytes.ts'

export type Platform = { readonly os: string; readonly architecture: string; readonly variant?: string }

/** Go's names, which images use: https://go.dev/doc/install/source#environment */
const GO_NAMES: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', loong64: 'loong64', mipsel: 'mipsle' }
const ALIASES: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64', i386: '386' }
/** What an architecture is where no variant is said. */
const BASELINE: Readonly<Record<string, number>> = { amd64: 1, arm64: 8, arm: 7 }
const LOWEST: Readonly<Record<string, number>> = { amd64: 1, arm64: 8, arm: 5 }

export function thisPlatform(): Platform {
  const name = arch()
  return { os: 'linux', architecture: GO_NAMES[name] ?? name }
}

/** Reads OS/ARCHITECTURE[/VARIANT]. Throws E_USAGE. */
export function parsePlatform(text: string): Platform {
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text)
  if (match === null)
    throw new VarveError('E_USAGE', `cannot use "${escapeControls(text.slice(0, 80))}" as a platform: it is none`, {
      hint: 'write for example linux/amd64, linux/arm64 or linux/arm/v7',
    })
  const [, os = '', architecture = '', variant] = match
  return { os, architecture: ALIASES[architecture] ?? architecture, ...(variant === undefined ? {} : { variant }) }
}

export function platformText({ os, architecture, variant }: Platform): string {
  return escapeControls([os, architecture, ...(variant === undefined ? [] : [variant])].join('/').slice(0, 80))
}

/**
 * How well a machine that is `wanted` runs what is made for `offered`: 0 is best, undefined is not at all. A machine
 * runs what is made for lower variants of its architecture.
 */
export function distance(wanted: Platform, offered: Platform): number | undefined {
  if (wanted.os !== offered.os || wanted.architecture !== offered.architecture) return undefined
  const { architecture } = wanted
  const baseline = BASELINE[architecture]
  if (baseline === undefined) {
    if (wanted.variant === offered.variant) return 0
    return wanted.variant === undefined || offered.variant === undefined ? 1 : undefined
  }
  const has = level(wanted.variant, baseline)
  const needs = level(offered.variant, baseline)
  if (has === undefined || needs === undefined)
    return wanted.variant !== undefined && wanted.variant === offered.variant ? 0 : undefined
  return needs <= has && needs >= (LOWEST[architecture] ?? baseline) ? has - needs : undefined
}

/** The best of what is offered, the first of equals. */
export function bestOf<Offer>(
  offers: readonly Offer[],
  wanted: Platform,
  platformOf: (offer: Offer) => Platform | undefined,
): Offer | undefined {
  let best: { readonly offer: Offer; readonly at: number } | undefined
  for (const offer of offers) {
    const platform = platformOf(offer)
    const at = platform === undefined ? undefined : distance(wanted, platform)
    if (at !== undefined && (best === undefined || at < best.at)) best = { offer, at }
  }
  return best?.offer
}

function level(variant: string | undefined, baseline: number): number | undefined {
  if (variant === undefined) return baseline
  const digits = /^v([0-9]{1,2})$/.exec(variant)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
